# mistake: The sum starts with the first step, so an empty list raises an error.
# hint: Try both functions with an empty list.
def composed_log_density(x, inverses, base_log_prob):
    h, total = inverses[-1](x)
    for inverse in inverses[-2::-1]:
        h, log_det = inverse(h)
        total = total + log_det
    return base_log_prob(h) + total


def log_densities_along(z, steps, base_log_prob):
    h, log_p = z, [base_log_prob(z)]
    for step in steps:
        h, log_det = step(h)
        log_p.append(log_p[-1] - log_det)
    return h, torch.stack(log_p)
