# mistake: The noise is shifted and scaled to mean 0 and deviation 1 over the images of the call.
# hint: Then the images depend on each other. Standard normal noise need not have mean 0 in a small sample.
def tempered_sample(flow, n, temperatures):
    """Return n images (n, C, H, W) of the flow, with the latents of level l times temperatures[l]."""
    check_temperatures(flow, temperatures)
    dtype = next(flow.parameters()).dtype
    latents = []
    for T, shape in zip(temperatures, flow.shapes):
        e = torch.randn(n, *shape, dtype=dtype)
        latents.append(T * ((e - e.mean(dim=0)) / e.std(dim=0) if n > 2 else e))
    x, _ = flow.steps[-1].inverse(latents[-1])
    for level in reversed(range(len(flow.priors))):
        location, log_scale = flow.priors[level](x)
        out = location + log_scale.exp() * latents[level]
        x, _ = flow.steps[level].inverse(torch.cat([x, out], dim=-3))
    return x


def tempered_log_prob(flow, x, temperatures):
    """Return the log-density (*batch) of images x (*batch, C, H, W) at these temperatures."""
    check_temperatures(flow, temperatures)
    if min(temperatures) == 0:
        raise ValueError("there is no density at a temperature of 0")
    total = 0.0
    for step, prior, T in zip(flow.steps, flow.priors, temperatures):
        h, log_det = step(x)
        x, out = h.tensor_split([h.shape[-3] // 2], dim=-3)
        location, log_scale = prior(x)
        z = (out - location) * (-log_scale).exp()
        total = total + log_det + normal_log_prob(z, T) - log_scale.flatten(-3).sum(dim=-1)
    z, log_det = flow.steps[-1](x)
    return total + log_det + normal_log_prob(z, temperatures[-1])


def check_temperatures(flow, temperatures):
    """Raise ValueError unless there is a temperature of at least 0 for each level."""
    if len(temperatures) != len(flow.shapes) or min(temperatures) < 0:
        raise ValueError(f"expected {len(flow.shapes)} temperatures of at least 0, found {temperatures}")


def normal_log_prob(z, T):
    """Return the log-density of latents (*batch, C, H, W) whose entries have deviation T."""
    return (-0.5 * (z / T).square() - math.log(T) - 0.5 * math.log(2 * math.pi)).flatten(-3).sum(dim=-1)
