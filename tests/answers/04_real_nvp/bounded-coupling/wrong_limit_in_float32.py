# mistake: The limit is made a float32 tensor, which rounds it.
# hint: A Python number is not rounded to float32; torch.tensor(limit) is.
class BoundedCoupling(torch.nn.Module):
    """The coupling x = z * exp(a) + t where the mask is False, with a = limit * r / (1 + |r|); all else stays.

    mask: bool, True for what is kept; as many dimensions as a point, broadcast to it.
    net: a module from the points, with zeros where they are moved, to a pair (r, t) of their shape.
    limit: the largest |a|; ValueError if it is not positive.
    """

    def __init__(self, mask, net, limit):
        super().__init__()
        if not limit > 0:
            raise ValueError(f"expected a positive limit, found {limit}")
        self.register_buffer("mask", mask.clone())
        self.net = net
        self.register_buffer("limit", torch.tensor(float(limit)))

    def scale_and_shift(self, points):
        """Return a, t and the sum of a over each point; a and t are 0 for what is kept."""
        r, t = self.net(torch.where(self.mask, points, 0))
        a = torch.where(self.mask, 0, self.limit * r / (1 + r.abs()))
        return a, torch.where(self.mask, 0, t), a.flatten(-self.mask.dim()).sum(dim=-1)

    def forward(self, x):
        """Map x (*batch, *event) to z (*batch, *event); return z and the log-determinants (*batch) of x -> z."""
        a, t, total = self.scale_and_shift(x)
        return (x - t) * (-a).exp(), -total

    def inverse(self, z):
        """Map z (*batch, *event) to x (*batch, *event); return x and the log-determinants (*batch) of z -> x."""
        a, t, total = self.scale_and_shift(z)
        return z * a.exp() + t, total
