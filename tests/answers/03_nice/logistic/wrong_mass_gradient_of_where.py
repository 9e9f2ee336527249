# mistake: Wide intervals are treated apart by torch.where, with a NaN gradient from the unused branch.
# hint: Both branches pass their gradients back: make the unused one harmless first.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    w = b - a
    thin = torch.log(torch.exp(w) - 1) - w
    rest = torch.where(w > 50, torch.zeros_like(w), torch.where(w < 1e-3, torch.log(-torch.expm1(-w)), thin))
    return logsigmoid(b) + logsigmoid(-a) + rest
