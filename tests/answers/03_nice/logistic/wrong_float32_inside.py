# mistake: The work is done in float32 and turned back, so float64 keeps seven digits only.
# hint: Stay in the dtype of the arguments, or in a wider one.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    kind = x.dtype
    x, location, log_scale = x.float(), location.float(), log_scale.float()
    u = (x - location) * (-log_scale).exp()
    return (torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale).to(kind)


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
