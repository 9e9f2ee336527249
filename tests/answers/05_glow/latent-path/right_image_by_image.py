def as_vector(latents):
    return torch.cat([part.reshape(-1) for part in latents])


def as_latents(vector, like):
    parts, start = [], 0
    for part in like:
        parts.append(vector[start : start + part.numel()].reshape(part.shape))
        start += part.numel()
    return tuple(parts)


def latent_path(flow, x0, x1, k):
    """Image by image, and step by step, with the straight line where the angle is tiny."""
    if k < 2:
        raise ValueError("at least two images")
    if x0.dim() > 3:
        return torch.stack([latent_path(flow, a, b, k) for a, b in zip(x0, x1)], dim=1)
    first = flow.encode(x0)
    z, w = as_vector(first), as_vector(flow.encode(x1))
    u, v = z / z.norm(), w / w.norm()
    cosine = torch.dot(u, v).clamp(-1, 1)
    images = []
    for i in range(k):
        t = i / (k - 1)
        if 1 - cosine < 1e-7:
            direction = (1 - t) * u + t * v
        else:
            angle = torch.arccos(cosine)
            direction = (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / torch.sin(angle)
        images.append(flow.decode(as_latents(((1 - t) * z.norm() + t * w.norm()) * direction, first)))
    return torch.stack(images)


def attribute_direction(flow, x, has, other=None):
    codes = [flow.encode(image) for image in x]
    vectors = torch.stack([as_vector(code) for code in codes])

    def arrow(which):
        if which.sum() == 0 or which.sum() == len(which):
            raise ValueError("the attribute has one side only")
        weights = which.to(x.dtype)
        return weights @ vectors / weights.sum() - (1 - weights) @ vectors / (1 - weights).sum()

    v = arrow(has)
    if other is not None:
        u = arrow(other) / arrow(other).norm()
        v = v - torch.dot(v, u) * u
    return as_latents(v, codes[0])


def move_along(flow, x, direction, amounts):
    code = flow.encode(x)
    moved = []
    for amount in amounts:
        moved.append(flow.decode(tuple(z + amount * step for z, step in zip(code, direction))))
    return torch.stack(moved)
