# mistake: The log-determinant is overwritten in every round, so only the last one counts.
# hint: The logarithm of a product of K determinants is a sum with K terms.
def composed_log_density(x, inverses, base_log_prob):
    h, total = x, 0.0
    for inverse in reversed(inverses):
        h, log_det = inverse(h)
        total = log_det
    return base_log_prob(h) + total


def log_densities_along(z, steps, base_log_prob):
    h, log_p = z, [base_log_prob(z)]
    for step in steps:
        h, log_det = step(h)
        log_p.append(log_p[-1] - log_det)
    return h, torch.stack(log_p)
