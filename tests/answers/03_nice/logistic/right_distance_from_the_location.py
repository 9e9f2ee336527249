def log_sigmoid(t):
    return torch.clamp(t, max=0) - torch.log1p(torch.exp(-torch.abs(t)))


def logistic_log_prob(x, location, log_scale):
    distance = torch.abs((x - location) * torch.exp(-log_scale))
    return -distance - 2 * torch.log1p(torch.exp(-distance)) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    """An interval on the right is mirrored to the left, where nothing cancels."""
    rate = torch.exp(-log_scale)
    a, b = (low - location) * rate, (high - location) * rate
    right = a > 0
    near, far = torch.where(right, -a, b), torch.where(right, -b, a)
    return log_sigmoid(near) + log_sigmoid(-far) + torch.log(-torch.expm1(-(high - low) * rate))
