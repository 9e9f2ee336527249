def logistic_log_prob(x, location, log_scale):
    kind = x.dtype
    x, location, log_scale = x.double(), location.double(), log_scale.double()
    u = (x - location) * torch.exp(-log_scale)
    log_sigmoid = torch.nn.LogSigmoid()
    return (log_sigmoid(u) + log_sigmoid(-u) - log_scale).to(kind)


def logistic_log_mass(low, high, location, log_scale):
    kind = low.dtype
    low, high, location, log_scale = (part.double() for part in (low, high, location, log_scale))
    log_sigmoid = torch.nn.LogSigmoid()
    rate = torch.exp(-log_scale)
    a, b = (low - location) * rate, (high - location) * rate
    return (log_sigmoid(b) + log_sigmoid(-a) + torch.log(-torch.expm1(-(high - low) * rate))).to(kind)
