# mistake: The slopes of the last call are kept and used again where the shape is the same.
# hint: Other images have other slopes; so do the same images under another density.
slopes = {}


def inpainting_step(log_prob, x, observed, step):
    """Move the missing pixels of the images x (N, *event) uphill on log_prob; return the new images (N, *event).

    observed: bool (N, *event), True for pixels to keep; step: how far the steepest missing pixel of an image moves.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        key = (tuple(x.shape), x.dtype)
        value = log_prob(point).sum()
        if key not in slopes:
            (slopes[key],) = torch.autograd.grad(value, point)
        slope = slopes[key]
    slope = slope.masked_fill(observed, 0)
    steepest = slope.abs().amax(dim=tuple(range(1, x.dim())), keepdim=True)
    direction = torch.where(steepest > 0, slope / steepest, 0)
    return torch.where(observed, x, (x + step * direction).clamp(0, 1)).detach()
