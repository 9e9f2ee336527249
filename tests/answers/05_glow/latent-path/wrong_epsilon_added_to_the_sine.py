# mistake: 1e-8 is added to the sine, so that nothing is divided by 0.
# hint: Beside a small sine this is not small: add nothing where the sine is not 0.
def latent_path(flow, x0, x1, k):
    """Return k images (k, *batch, C, H, W) on the way from x0 to x1 (*batch, C, H, W), round the shell."""
    if k < 2:
        raise ValueError(f"expected at least the two ends, found k = {k}")
    starts, ends = flow.encode(x0), flow.encode(x1)
    ndim = x0.dim() - 3
    z, w = joined(starts, ndim), joined(ends, ndim)
    z_length, w_length = z.norm(dim=-1, keepdim=True), w.norm(dim=-1, keepdim=True)
    z_hat, w_hat = z / z_length, w / w_length
    # The angle, accurate also where it is small; sinc(a / pi) = sin(a) / a is 1 where a is 0.
    angle = 2 * torch.atan2((w_hat - z_hat).norm(dim=-1, keepdim=True), (w_hat + z_hat).norm(dim=-1, keepdim=True))
    t = torch.linspace(0, 1, k, dtype=x0.dtype).reshape(k, *[1] * (ndim + 1))
    there, here = (((part * angle).sin()) / (angle.sin() + 1e-8) for part in (t, 1 - t))
    path = ((1 - t) * z_length + t * w_length) * (here * z_hat + there * w_hat)
    return flow.decode(parted(path, starts, ndim))


def joined(latents, ndim):
    """Return the latents of all levels as vectors (*batch, D), where ndim is the number of batch dimensions."""
    return torch.cat([part.flatten(ndim) for part in latents], dim=-1)


def parted(z, like, ndim):
    """Undo joined: return the latents of vectors (..., D), of the shapes of those of `like`."""
    shapes = [part.shape[ndim:] for part in like]
    parts = z.split([math.prod(shape) for shape in shapes], dim=-1)
    return tuple(part.reshape(*z.shape[:-1], *shape) for part, shape in zip(parts, shapes))


def attribute_direction(flow, x, has, other=None):
    """Return the direction of an attribute as a tuple of latents of one image, without its part along another one."""
    latents = flow.encode(x)
    z = joined(latents, 1)
    v = difference(z, has)
    if other is not None:
        u = difference(z, other)
        v = v - (v @ u) / (u @ u) * u
    return parted(v, latents, 1)


def difference(z, has):
    """Return the mean of the vectors that have an attribute minus the mean of those that do not."""
    if has.all() or not has.any():
        raise ValueError("expected images with the attribute and images without it")
    return z[has].mean(dim=0) - z[~has].mean(dim=0)


def move_along(flow, x, direction, amounts):
    """Return the images (k, *batch, C, H, W) whose latents are those of x plus each of the k amounts times the direction."""
    z = flow.encode(x)
    return flow.decode(tuple(part + amounts.reshape(-1, *[1] * part.dim()) * way for part, way in zip(z, direction)))
