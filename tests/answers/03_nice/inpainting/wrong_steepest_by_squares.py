# mistake: The steepest slope is the root of the largest square, which overflows or vanishes.
# hint: What is the square of a slope of 1e-30 or 1e30 in float32?
def inpainting_step(log_prob, x, observed, step):
    """Move the missing pixels of the images x (N, *event) uphill on log_prob; return the new images (N, *event).

    observed: bool (N, *event), True for pixels to keep; step: how far the steepest missing pixel of an image moves.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(log_prob(point).sum(), point)
    slope = slope.masked_fill(observed, 0)
    steepest = slope.square().amax(dim=tuple(range(1, x.dim())), keepdim=True).sqrt()
    direction = torch.where(steepest > 0, slope / steepest, 0)
    return torch.where(observed, x, (x + step * direction).clamp(0, 1)).detach()
