def logit_forward(x, low, high, alpha):
    """Use torch.logit, and the softplus form of the logarithm of its slope."""
    z = torch.logit(alpha + (1 - 2 * alpha) * (x - low) / (high - low))
    return z, log_slope(z, low, high, alpha).sum(-1)


def logit_inverse(z, low, high, alpha):
    """The inverse, with the negative of the same log-slope."""
    x = (torch.sigmoid(z) - alpha) * ((high - low) / (1 - 2 * alpha)) + low
    return x, -log_slope(z, low, high, alpha).sum(-1)


def log_slope(z, low, high, alpha):
    """Logarithm of dz/dx of one coordinate, as a function of z."""
    softplus = torch.nn.functional.softplus
    return softplus(z) + softplus(-z) + math.log(1 - 2 * alpha) - math.log(high - low)
