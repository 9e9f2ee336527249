def log_one_plus_exp(t):
    return torch.logaddexp(t, torch.zeros_like(t))


def standardized(x, location, log_scale):
    return (x - location) * (-log_scale).exp()


def logistic_log_prob(x, location, log_scale):
    u = standardized(x, location, log_scale)
    return -log_one_plus_exp(u) - log_one_plus_exp(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    a, b = standardized(low, location, log_scale), standardized(high, location, log_scale)
    w = (high - low) * (-log_scale).exp()
    # log(1 - e^-w): expm1 for small w, log1p for large w, each with a harmless w where the other is used.
    small = w < 0.7
    thin = torch.log(-torch.expm1(-torch.where(small, w, torch.ones_like(w))))
    wide = torch.log1p(-torch.exp(-torch.where(small, torch.ones_like(w), w)))
    return torch.where(small, thin, wide) - log_one_plus_exp(-b) - log_one_plus_exp(a)
