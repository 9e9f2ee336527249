# mistake: Where one image of the batch is flat, no image is moved.
# hint: What should happen to the other images of a batch in which one has slopes of 0?
def inpainting_step(log_prob, x, observed, step):
    """Move the missing pixels of the images x (N, *event) uphill on log_prob; return the new images (N, *event).

    observed: bool (N, *event), True for pixels to keep; step: how far the steepest missing pixel of an image moves.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(log_prob(point).sum(), point)
    slope = slope.masked_fill(observed, 0)
    steepest = slope.abs().amax(dim=tuple(range(1, x.dim())), keepdim=True)
    direction = slope / steepest if (steepest > 0).all() else torch.zeros_like(slope)
    return torch.where(observed, x, (x + step * direction).clamp(0, 1)).detach()
