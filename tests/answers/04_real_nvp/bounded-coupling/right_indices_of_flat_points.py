class BoundedCoupling(torch.nn.Module):
    """Flattens a point and moves the entries at the places of the mask."""

    def __init__(self, mask, net, limit):
        super().__init__()
        if not limit > 0:
            raise ValueError(f"limit must be positive, found {limit}")
        self.register_buffer("mask", mask.clone())
        self.net, self.limit = net, limit

    def run(self, points, direction):
        n = self.mask.dim()
        event = points.shape[points.dim() - n :]
        moved = (~self.mask).expand(event).reshape(-1)
        r, t = self.net(points.masked_fill(~self.mask, 0.0))
        r, t, flat = (part.reshape(*points.shape[: points.dim() - n], -1) for part in (r, t, points))
        r, t, old = r[..., moved], t[..., moved], flat[..., moved]
        a = self.limit * r / (r.abs() + 1)
        new = old * a.exp() + t if direction > 0 else (old - t) / a.exp()
        flat = flat.clone()
        flat[..., moved] = new
        return flat.reshape(points.shape), direction * a.sum(-1)

    def forward(self, x):
        return self.run(x, -1)

    def inverse(self, z):
        return self.run(z, 1)
