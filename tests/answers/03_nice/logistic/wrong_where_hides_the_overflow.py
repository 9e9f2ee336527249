# mistake: torch.where picks the finite branch, but the gradient of the other one is 0 times infinity.
# hint: Both branches are computed, and their gradients too: make the unused branch harmless before exp.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    left = u - 2 * torch.log1p(torch.exp(u))
    right = -u - 2 * torch.log1p(torch.exp(-u))
    return torch.where(u < 0, left, right) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
