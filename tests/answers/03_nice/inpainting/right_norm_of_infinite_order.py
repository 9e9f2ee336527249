def inpainting_step(log_prob, x, observed, step):
    result = x.detach().clone()
    with torch.enable_grad():
        point = x.detach().requires_grad_(True)
        (g,) = torch.autograd.grad([log_prob(point).mean()], [point])
    missing = ~observed
    for n in range(len(x)):
        slope = g[n][missing[n]]
        if slope.numel() == 0:
            continue
        c = torch.linalg.vector_norm(slope, ord=math.inf)
        push = slope / c if c > 0 else slope
        result[n][missing[n]] = (result[n][missing[n]] + step * push).clamp(0, 1)
    return result
