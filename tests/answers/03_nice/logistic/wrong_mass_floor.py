# mistake: The mass is kept above 1e-30, so the far tails all have the same logarithm.
# hint: At distance 9999 the log-mass is about -9999.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    return torch.log((torch.sigmoid(b) - torch.sigmoid(a)).clamp_min(1e-30))
