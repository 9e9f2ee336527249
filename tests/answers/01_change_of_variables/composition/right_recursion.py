def composed_log_density(x, inverses, base_log_prob):
    """Undo the last step, then ask for the density of what is left."""
    if not inverses:
        return base_log_prob(x)
    *earlier, last = inverses
    h, log_det = last(x)
    return composed_log_density(h, earlier, base_log_prob) + log_det


def log_densities_along(z, steps, base_log_prob):
    """Take the path of all but the last step and add one row."""
    if len(steps) == 0:
        return z, base_log_prob(z)[None]
    h, log_p = log_densities_along(z, steps[:-1], base_log_prob)
    x, log_det = steps[-1](h)
    return x, torch.cat([log_p, (log_p[-1] - log_det)[None]])
