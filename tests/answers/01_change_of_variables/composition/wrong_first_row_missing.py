# mistake: The row of the base density is left out.
# hint: K steps visit K + 1 points, the starting point among them.
def composed_log_density(x, inverses, base_log_prob):
    h, total = x, 0.0
    for inverse in reversed(inverses):
        h, log_det = inverse(h)
        total = total + log_det
    return base_log_prob(h) + total


def log_densities_along(z, steps, base_log_prob):
    h, log_p, rows = z, base_log_prob(z), []
    for step in steps:
        h, log_det = step(h)
        log_p = log_p - log_det
        rows.append(log_p)
    return h, torch.stack(rows)
