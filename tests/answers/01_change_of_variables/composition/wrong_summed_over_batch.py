# mistake: The log-determinants are summed over the batch.
# hint: Ask for one point, then for the same point in a batch of ten: the answer must not change.
def composed_log_density(x, inverses, base_log_prob):
    h, total = x, 0.0
    for inverse in reversed(inverses):
        h, log_det = inverse(h)
        total = total + log_det.sum()
    return base_log_prob(h) + total


def log_densities_along(z, steps, base_log_prob):
    h, log_p = z, [base_log_prob(z)]
    for step in steps:
        h, log_det = step(h)
        log_p.append(log_p[-1] - log_det.sum())
    return h, torch.stack(log_p)
