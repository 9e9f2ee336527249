def inner(a, b, batch):
    """The dot products of two tuples of latents over all levels, with the shape of the batch."""
    return sum((p * q).reshape(*p.shape[:batch], -1).sum(dim=-1) for p, q in zip(a, b))


def times(number, latents):
    return [number.reshape(number.shape + (1,) * (part.dim() - number.dim())) * part for part in latents]


def latent_path(flow, x0, x1, k):
    """Turns in the plane of z and what of w is at a right angle to it; never forms one long vector."""
    if k < 2:
        raise ValueError(f"k = {k}")
    z, w, batch = flow.encode(x0), flow.encode(x1), x0.dim() - 3
    a, b = inner(z, z, batch).sqrt(), inner(w, w, batch).sqrt()
    u, v = times(1 / a, z), times(1 / b, w)
    along = inner(u, v, batch)
    across = [q - p for p, q in zip(times(along, u), v)]
    height = inner(across, across, batch).clamp_min(1e-30).sqrt()
    across = times(1 / height, across)
    angle = torch.atan2(height, along)
    steps = []
    for t in torch.linspace(0, 1, k, dtype=torch.float64).tolist():
        length = (1 - t) * a + t * b
        turned = zip(times(length * torch.cos(t * angle), u), times(length * torch.sin(t * angle), across))
        steps.append(flow.decode(tuple(p + q for p, q in turned)))
    return torch.stack(steps)


def attribute_direction(flow, x, has, other=None):
    for which in (has, other):
        if which is not None and len(which.unique()) < 2:
            raise ValueError("one side is empty")
    latents = flow.encode(x)
    v = [part[has].mean(0) - part[has.logical_not()].mean(0) for part in latents]
    if other is not None:
        u = [part[other].mean(0) - part[other.logical_not()].mean(0) for part in latents]
        share = inner(v, u, 0) / inner(u, u, 0)
        v = [p - share * q for p, q in zip(v, u)]
    return tuple(v)


def move_along(flow, x, direction, amounts):
    z = flow.encode(x)
    spread = [part.unsqueeze(0).expand(len(amounts), *part.shape) for part in z]
    moved = [part + torch.stack([amount * way for amount in amounts]).reshape(len(amounts), *[1] * (part.dim() - 1 - way.dim()), *way.shape) for part, way in zip(spread, direction)]
    return flow.decode(tuple(moved))
