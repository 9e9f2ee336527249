# mistake: NaN and infinity are replaced by numbers afterwards.
# hint: A finite number is not yet the right one, and its gradient is 0.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    return torch.nan_to_num(-u - 2 * torch.log1p(torch.exp(-u)), nan=-1e4, posinf=-1e4, neginf=-1e4) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
