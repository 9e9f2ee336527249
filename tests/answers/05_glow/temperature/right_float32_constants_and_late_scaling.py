def tempered_sample(flow, n, temperatures):
    """Draws all noise at once and cuts it into the latents."""
    T = torch.tensor([float(t) for t in temperatures], dtype=torch.float64)
    if len(T) != len(flow.shapes) or not (T >= 0).all():
        raise ValueError("temperatures")
    sizes = [math.prod(shape) for shape in flow.shapes]
    noise = torch.randn(n, sum(sizes), dtype=next(flow.parameters()).dtype).split(sizes, dim=1)
    z = [(T[k] * noise[k]).reshape(n, *flow.shapes[k]) for k in range(len(T))]
    x = flow.steps[-1].inverse(z.pop())[0]
    for step, prior in zip(list(flow.steps)[-2::-1], list(flow.priors)[::-1]):
        location, log_scale = prior(x)
        x = step.inverse(torch.cat([x, z.pop() * log_scale.exp() + location], -3))[0]
    return x.detach()


def tempered_log_prob(flow, x, temperatures):
    if len(temperatures) != len(flow.shapes) or any(not T > 0 for T in temperatures):
        raise ValueError("temperatures")
    total = torch.zeros(x.shape[:-3], dtype=x.dtype)
    for level in range(len(temperatures)):
        width = torch.tensor(float(temperatures[level]))
        x, log_det = flow.steps[level](x)
        total = total + log_det
        out = x
        if level < len(flow.priors):
            x, out = x[..., : x.shape[-3] // 2, :, :], x[..., x.shape[-3] // 2 :, :, :]
            location, log_scale = flow.priors[level](x)
            out = (out - location) / log_scale.exp()
            total = total - log_scale.sum(dim=[-3, -2, -1])
        normal = torch.distributions.Normal(0.0, 1.0)
        total = total + (normal.log_prob(out / width) - width.log()).sum(dim=[-3, -2, -1])
    return total
