# mistake: The density is that of a normal distribution of about the same width.
# hint: Near the middle the two look alike; far out the logistic one falls like e^-|u|.
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    u = u / 1.702
    return -0.5 * u**2 - 0.5 * math.log(2 * math.pi) - math.log(1.702) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    logsigmoid = torch.nn.functional.logsigmoid
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1(a - b))
