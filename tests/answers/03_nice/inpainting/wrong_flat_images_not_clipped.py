# mistake: An image whose slopes are 0 comes back as it is, without being clipped.
# hint: What becomes of a missing pixel outside of [0, 1] in an image in which nothing moves?
def inpainting_step(log_prob, x, observed, step):
    """Move the missing pixels of the images x (N, *event) uphill on log_prob; return the new images (N, *event).

    observed: bool (N, *event), True for pixels to keep; step: how far the steepest missing pixel of an image moves.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(log_prob(point).sum(), point)
    slope = slope.masked_fill(observed, 0)
    steepest = slope.abs().amax(dim=tuple(range(1, x.dim())), keepdim=True)
    direction = torch.where(steepest > 0, slope / steepest, 0)
    return torch.where(observed | (steepest == 0), x, (x + step * direction).clamp(0, 1)).detach()
