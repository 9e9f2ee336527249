# mistake: Intervals on the right are mirrored, but F is still subtracted before the logarithm is taken.
# hint: Far on the left F itself underflows: e^-10000 is 0.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    right = a > 0
    near, far = torch.where(right, -a, b), torch.where(right, -b, a)
    return torch.log(torch.sigmoid(near) - torch.sigmoid(far))
