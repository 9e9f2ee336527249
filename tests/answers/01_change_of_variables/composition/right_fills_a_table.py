def composed_log_density(x, inverses, base_log_prob):
    total = x.new_zeros(len(x))
    for inverse in inverses[::-1]:
        x, log_det = inverse(x)
        total += log_det
    return base_log_prob(x) + total


def log_densities_along(z, steps, base_log_prob):
    h = z
    log_p = torch.empty(len(steps) + 1, len(z), dtype=z.dtype)
    log_p[0] = base_log_prob(z)
    for k, step in enumerate(steps):
        h, log_det = step(h)
        log_p[k + 1] = log_p[k].clone() - log_det
    return h, log_p
