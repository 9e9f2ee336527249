class BoundedCoupling(torch.nn.Module):
    """Cleans what the network returns for kept entries, then works with zeros and ones as the formula does."""

    def __init__(self, mask, net, limit):
        super().__init__()
        if limit <= 0:
            raise ValueError("the limit must be positive")
        self.register_buffer("keep", mask.detach().clone())
        self.limit = float(limit)
        self.net = net

    def law(self, points):
        b = self.keep.to(points.dtype)
        r, t = self.net(b * points)
        keep = self.keep.expand_as(points)
        r, t = r.masked_fill(keep, 0.0), t.masked_fill(keep, 0.0)
        return b, self.limit * torch.nn.functional.softsign(r), t

    def forward(self, x):
        b, a, t = self.law(x)
        z = b * x + (1 - b) * ((x - t) * torch.exp(-a))
        return z, -self.total(a)

    def inverse(self, z):
        b, a, t = self.law(z)
        x = b * z + (1 - b) * (z * torch.exp(a) + t)
        return x, self.total(a)

    def total(self, a):
        return a.sum(dim=tuple(range(-self.keep.dim(), 0)))
