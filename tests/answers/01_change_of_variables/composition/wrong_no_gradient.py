# mistake: The loop runs under no_grad, so no gradient reaches the points.
# hint: This number is a loss to be minimized: what does no_grad do to it?
def composed_log_density(x, inverses, base_log_prob):
    h, total = x, 0.0
    with torch.no_grad():
        for inverse in reversed(inverses):
            h, log_det = inverse(h)
            total = total + log_det
    return base_log_prob(h) + total


def log_densities_along(z, steps, base_log_prob):
    h, log_p = z, [base_log_prob(z)]
    for step in steps:
        h, log_det = step(h)
        log_p.append(log_p[-1] - log_det)
    return h, torch.stack(log_p)
