def tempered_sample(flow, n, temperatures):
    refuse(flow, temperatures, lambda T: T < 0)
    dtype = next(flow.parameters()).dtype
    with torch.no_grad():
        x = None
        for level in range(len(flow.steps) - 1, -1, -1):
            noise = torch.normal(0.0, 1.0, (n, *flow.shapes[level]), dtype=dtype)
            noise = noise * temperatures[level]
            if x is None:
                h = noise
            else:
                location, log_scale = flow.priors[level](x)
                h = torch.cat([x, torch.addcmul(location, log_scale.exp(), noise)], dim=-3)
            x = flow.steps[level].inverse(h)[0]
    return x


def tempered_log_prob(flow, x, temperatures):
    refuse(flow, temperatures, lambda T: T <= 0)
    log_dets, densities = [], []
    for level, step in enumerate(flow.steps):
        x, log_det = step.forward(x)
        log_dets.append(log_det)
        if level + 1 < len(flow.steps):
            on = x[..., : x.shape[-3] // 2, :, :]
            location, log_scale = flow.priors[level](on)
            base = torch.distributions.Normal(location, temperatures[level] * log_scale.exp())
            densities.append(torch.distributions.Independent(base, 3).log_prob(x[..., x.shape[-3] // 2 :, :, :]))
            x = on
    base = torch.distributions.Normal(torch.zeros_like(x), temperatures[-1] * torch.ones_like(x))
    densities.append(torch.distributions.Independent(base, 3).log_prob(x))
    return sum(log_dets) + sum(densities)


def refuse(flow, temperatures, bad):
    if len(temperatures) != len(flow.shapes) or any(bad(T) for T in temperatures):
        raise ValueError(f"temperatures {temperatures}")
