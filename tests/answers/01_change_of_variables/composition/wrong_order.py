# mistake: The inverses run in the generative order, first to last.
# hint: You put on socks, then shoes: which of the two comes off first?
def composed_log_density(x, inverses, base_log_prob):
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
