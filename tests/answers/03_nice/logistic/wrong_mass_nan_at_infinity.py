# mistake: Infinite ends give inf - inf.
# hint: Try low = -infinity: which of your terms are infinite there?
def logistic_log_prob(x, location, log_scale):
    """Return the log-density of the logistic distribution at x, entry by entry; all arguments broadcast."""
    u = (x - location) * (-log_scale).exp()
    return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """Return the log of the probability of low < X < high, entry by entry; all arguments broadcast."""
    a = (low - location) * (-log_scale).exp()
    b = (high - location) * (-log_scale).exp()
    half = (b - a) / 2
    log_sinh = half + torch.log(-torch.expm1(-2 * half))
    log_cosh = lambda t: t.abs() + torch.log1p(torch.exp(-2 * t.abs()))
    return log_sinh + math.log(2) - math.log(2) - log_cosh(a / 2) - log_cosh(b / 2)
