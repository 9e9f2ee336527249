# mistake: The final points are detached, so what is computed from them trains nothing.
# hint: Return the points as they came out of the last step.
def composed_log_density(x, inverses, base_log_prob):
    total = 0
    for inverse in reversed(inverses):
        x, log_det = inverse(x)
        total = total + log_det
    return base_log_prob(x) + total


def log_densities_along(z, steps, base_log_prob):
    log_p = base_log_prob(z)
    rows = [log_p]
    for step in steps:
        z, log_det = step(z)
        log_p = log_p - log_det
        rows.append(log_p)
    return z.detach(), torch.stack(rows)
