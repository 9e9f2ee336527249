# mistake: The scale is taken to be the standard deviation.
# hint: A logistic variable of scale 1 has the variance pi^2/3. The text gives the formula with the scale.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp() * (math.pi / math.sqrt(3))
    return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale + math.log(math.pi / math.sqrt(3))


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
