def logistic_log_prob(x, location, log_scale):
    from torch.distributions import AffineTransform, SigmoidTransform, TransformedDistribution, Uniform

    x, location, log_scale = torch.broadcast_tensors(x, location, log_scale)
    base = Uniform(torch.zeros_like(location), torch.ones_like(location), validate_args=False)
    steps = [SigmoidTransform().inv, AffineTransform(location, log_scale.exp())]
    return TransformedDistribution(base, steps, validate_args=False).log_prob(x)


def logistic_log_mass(low, high, location, log_scale):
    scale = log_scale.exp()
    a, b = (low - location) / scale, (high - location) / scale
    log_sigmoid = torch.nn.LogSigmoid()
    return log_sigmoid(b) + log_sigmoid(-a) + (-torch.special.expm1((low - high) / scale)).log()
