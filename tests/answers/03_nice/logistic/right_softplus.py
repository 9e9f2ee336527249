def logistic_log_prob(x, location, log_scale):
    softplus = torch.nn.functional.softplus
    u = (x - location) / torch.exp(log_scale)
    return -softplus(u) - softplus(-u) - log_scale


def logistic_log_mass(low, high, location, log_scale):
    softplus = torch.nn.functional.softplus
    a = (low - location) / torch.exp(log_scale)
    b = (high - location) / torch.exp(log_scale)
    width = (high - low) / torch.exp(log_scale)
    return torch.log(-torch.expm1(-width)) - softplus(-b) - softplus(a)
