def checked(flow, temperatures, positive):
    temperatures = list(temperatures)
    if len(temperatures) != len(flow.steps):
        raise ValueError("one temperature for each level")
    for T in temperatures:
        if T < 0 or (positive and T == 0):
            raise ValueError(f"a temperature of {T}")
    return temperatures


def tempered_sample(flow, n, temperatures):
    temperatures = checked(flow, temperatures, False)

    @torch.no_grad()
    def below(level):
        """The images that go into step `level`."""
        z = torch.empty(n, *flow.shapes[level], dtype=next(flow.parameters()).dtype).normal_() * temperatures[level]
        if level == len(flow.steps) - 1:
            return flow.steps[level].inverse(z)[0]
        on = below(level + 1)
        location, log_scale = flow.priors[level](on)
        return flow.steps[level].inverse(torch.cat([on, location + torch.exp(log_scale) * z], dim=1))[0]

    return below(0)


def tempered_log_prob(flow, x, temperatures):
    temperatures = checked(flow, temperatures, True)

    def above(level, x):
        h, log_det = flow.steps[level](x)
        T = temperatures[level]
        if level == len(flow.steps) - 1:
            location, log_scale = torch.zeros_like(h), torch.zeros_like(h)
            out, rest = h, 0
        else:
            half = h.shape[-3] // 2
            on, out = h[..., :half, :, :], h[..., half:, :, :]
            location, log_scale = flow.priors[level](on)
            rest = above(level + 1, on)
        log_scale = log_scale + math.log(T)
        entries = -(((out - location) / log_scale.exp()) ** 2) / 2 - log_scale - math.log(math.sqrt(2 * math.pi))
        return log_det + entries.sum(dim=(-1, -2, -3)) + rest

    return above(0, x)
