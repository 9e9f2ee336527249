def logistic_log_prob(x, location, log_scale):
    """One formula on each side; the argument of the other side is replaced before exp sees it."""
    u = (x - location) / log_scale.exp()
    left = torch.where(u < 0, u, torch.zeros_like(u))
    right = torch.where(u < 0, torch.zeros_like(u), u)
    on_the_left = left - 2 * torch.log1p(left.exp())
    on_the_right = -right - 2 * torch.log1p((-right).exp())
    return torch.where(u < 0, on_the_left, on_the_right) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    def log_cdf(t):
        below = torch.where(t < 0, t, torch.zeros_like(t))
        above = torch.where(t < 0, torch.zeros_like(t), t)
        return torch.where(t < 0, below - torch.log1p(below.exp()), -torch.log1p((-above).exp()))

    a, b = (low - location) / log_scale.exp(), (high - location) / log_scale.exp()
    return log_cdf(b) + log_cdf(-a) + (-(a - b).expm1()).log()
