# mistake: The slopes are measured by small steps, with two calls of log_prob for every pixel.
# hint: One call and one backward pass give all slopes.
def inpainting_step(log_prob, x, observed, step):
    """Move the missing pixels of the images x (N, *event) uphill on log_prob; return the new images (N, *event).

    observed: bool (N, *event), True for pixels to keep; step: how far the steepest missing pixel of an image moves.
    """
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        flat, h = point.detach().flatten(1), 1e-4
        columns = []
        for j in range(flat.shape[1]):
            e = torch.zeros_like(flat)
            e[:, j] = h
            up, down = log_prob((flat + e).reshape(x.shape)), log_prob((flat - e).reshape(x.shape))
            columns.append(((up - down) / (2 * h)).detach())
        slope = torch.stack(columns, dim=1).reshape(x.shape)
    slope = slope.masked_fill(observed, 0)
    steepest = slope.abs().amax(dim=tuple(range(1, x.dim())), keepdim=True)
    direction = torch.where(steepest > 0, slope / steepest, 0)
    return torch.where(observed, x, (x + step * direction).clamp(0, 1)).detach()
