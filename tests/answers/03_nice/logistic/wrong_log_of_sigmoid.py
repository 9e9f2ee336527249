# mistake: log(sigmoid) and log(1 - sigmoid) are computed from the rounded sigmoid.
# hint: sigmoid(40) is 1 in a float, and 1 - 1 has no logarithm. torch.nn.functional has log-sigmoid itself.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    s = torch.sigmoid(u)
    return torch.log(s) + torch.log(1 - s) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
