class Flat:
    """A flow on flat batches: images (n, C, H, W) to vectors (n, D) and back."""

    def __init__(self, flow, x):
        self.flow = flow
        self.shapes = [part.shape[1:] for part in flow.encode(x.reshape(-1, *x.shape[-3:])[:1])]

    def encode(self, x):
        return torch.hstack([part.flatten(1) for part in self.flow.encode(x.reshape(-1, *x.shape[-3:]))])

    def split(self, z):
        sizes = [shape.numel() for shape in self.shapes]
        return tuple(part.reshape(-1, *shape) for part, shape in zip(torch.split(z, sizes, dim=1), self.shapes))

    def decode(self, z, shape):
        return self.flow.decode(self.split(z)).reshape(shape)


def latent_path(flow, x0, x1, k):
    if k <= 1:
        raise ValueError("a path has two ends")
    flat = Flat(flow, x0)
    z, w = flat.encode(x0)[None], flat.encode(x1)[None]
    r, s = z.norm(dim=-1, keepdim=True), w.norm(dim=-1, keepdim=True)
    angle = torch.acos(((z * w).sum(-1, keepdim=True) / (r * s)).clamp(-1, 1))
    t = (torch.arange(k, dtype=x0.dtype) / (k - 1))[:, None, None]
    safe = torch.where(angle.sin() < 1e-6, 1.0, angle.sin())
    here = torch.where(angle.sin() < 1e-6, 1 - t, ((1 - t) * angle).sin() / safe)
    there = torch.where(angle.sin() < 1e-6, t, (t * angle).sin() / safe)
    path = torch.lerp(r, s, t) * (here * z / r + there * w / s)
    return flat.decode(path.flatten(0, 1), (k, *x0.shape))


def attribute_direction(flow, x, has, other=None):
    flat = Flat(flow, x)
    z = flat.encode(x)
    directions = []
    for which in [has] if other is None else [has, other]:
        if not which.any() or which.all():
            raise ValueError("nobody to compare with")
        signs = which / which.sum() - ~which / (~which).sum()
        directions.append(signs.to(z.dtype) @ z)
    v = directions[0]
    for u in directions[1:]:
        v = v - u * (u @ v) / u.square().sum()
    return tuple(part[0] for part in flat.split(v[None]))


def move_along(flow, x, direction, amounts):
    flat = Flat(flow, x)
    way = torch.cat([part.flatten() for part in direction])
    moved = flat.encode(x)[None] + amounts[:, None, None] * way
    return flat.decode(moved.flatten(0, 1), (len(amounts), *x.shape))
