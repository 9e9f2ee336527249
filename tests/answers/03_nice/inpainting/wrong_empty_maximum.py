# mistake: The maximum is taken over the missing pixels of each image, and fails where there are none.
# hint: An image may be observed completely. What is the maximum of nothing?
def inpainting_step(log_prob, x, observed, step):
    """Move the missing pixels of the images x (N, *event) uphill on log_prob; return the new images (N, *event).

    observed: bool (N, *event), True for pixels to keep; step: how far the steepest missing pixel of an image moves.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(log_prob(point).sum(), point)
    slope = slope.masked_fill(observed, 0)
    steepest = torch.stack([s[~o].abs().max() for s, o in zip(slope, observed)]).reshape(-1, *[1] * (x.dim() - 1))
    direction = torch.where(steepest > 0, slope / steepest, 0)
    return torch.where(observed, x, (x + step * direction).clamp(0, 1)).detach()
