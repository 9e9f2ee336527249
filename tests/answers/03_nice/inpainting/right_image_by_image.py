def inpainting_step(log_prob, x, observed, step):
    with torch.set_grad_enabled(True):
        leaf = torch.tensor(x.tolist(), dtype=x.dtype, requires_grad=True)
        total = log_prob(leaf).sum()
        gradient = torch.autograd.grad(outputs=total, inputs=leaf)[0]
    images = []
    for image, kept, slope in zip(x.detach(), observed, gradient):
        missing = torch.logical_not(kept)
        new = image.clone()
        if bool(missing.any()):
            g = slope[missing]
            c = g.abs().max()
            move = g / c * step if float(c) != 0.0 else torch.zeros_like(g)
            new[missing] = torch.clip(new[missing] + move, 0.0, 1.0)
        images.append(new)
    return torch.stack(images)
