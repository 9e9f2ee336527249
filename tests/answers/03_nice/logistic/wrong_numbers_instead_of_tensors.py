# mistake: The log-scale is turned into a Python number, so no gradient reaches it.
# hint: math.exp and .item() leave the autograd graph, and take one number only.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    log_scale = torch.tensor([v.item() for v in log_scale.reshape(-1)], dtype=x.dtype).reshape(log_scale.shape)
    u = (x - location) * (-log_scale).exp()
    return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
