# mistake: The length of the interval is detached.
# hint: Moving one end changes the length: that belongs to the gradient.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1((a - b).detach()))
