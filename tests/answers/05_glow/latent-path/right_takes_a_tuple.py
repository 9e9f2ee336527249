def flat(latents, nb):
    return torch.cat([p.flatten(nb) for p in latents], -1)


def cut(v, shapes):
    out = []
    for part, shape in zip(v.split([math.prod(s) for s in shapes], -1), shapes):
        out.append(part.reshape(*v.shape[:-1], *shape))
    return tuple(out)


def latent_path(flow, x0, x1, k):
    if k < 2:
        raise ValueError("k")
    nb = x0.dim() - 3
    a, b = flow.encode(x0), flow.encode(x1)
    shapes = [p.shape[nb:] for p in a]
    z, w = flat(a, nb), flat(b, nb)
    nz, nw = z.norm(dim=-1, keepdim=True), w.norm(dim=-1, keepdim=True)
    zh, wh = z / nz, w / nw
    om = 2 * torch.atan2((zh - wh).norm(dim=-1, keepdim=True), (zh + wh).norm(dim=-1, keepdim=True))
    t = torch.linspace(0, 1, k, dtype=x0.dtype).reshape(-1, *[1] * (nb + 1))
    s = lambda u: u * torch.sinc(u * om / math.pi) / torch.sinc(om / math.pi)
    p = ((1 - t) * nz + t * nw) * (s(1 - t) * zh + s(t) * wh)
    return flow.decode(cut(p, shapes))


def attribute_direction(flow, x, has, other=None):
    for a in (has, other):
        if a is not None and (a.all() or not a.any()):
            raise ValueError("attribute")
    z = flow.encode(x)
    shapes = [p.shape[1:] for p in z]
    z = flat(z, 1)
    v = z[has].mean(0) - z[~has].mean(0)
    if other is not None:
        u = z[other].mean(0) - z[~other].mean(0)
        v = v - (v @ u) / (u @ u) * u
    return cut(v, shapes)


def move_along(flow, x, direction, amounts):
    if not isinstance(direction, tuple):
        raise TypeError("expected a direction as attribute_direction returns it")
    shifts = (amounts.reshape(-1, *[1] * p.dim()) * d for p, d in zip(flow.encode(x), direction))
    return flow.decode([p + shift for p, shift in zip(flow.encode(x), shifts)])
