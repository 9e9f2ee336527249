# mistake: The list is reversed in place, so the caller's list is in another order at the next call.
# hint: list.reverse() changes the list of whoever called you.
def composed_log_density(x, inverses, base_log_prob):
    inverses.reverse()
    h, total = x, 0.0
    for inverse in inverses:
        h, log_det = inverse(h)
        total = total + log_det
    return base_log_prob(h) + total


def log_densities_along(z, steps, base_log_prob):
    h, log_p = z, [base_log_prob(z)]
    for step in steps:
        h, log_det = step(h)
        log_p.append(log_p[-1] - log_det)
    return h, torch.stack(log_p)
