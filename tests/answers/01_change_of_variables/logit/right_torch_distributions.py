from torch.distributions.transforms import AffineTransform, ComposeTransform, SigmoidTransform


def chain(low, high, alpha):
    slope = (high - low) / (1 - 2 * alpha)
    return ComposeTransform([SigmoidTransform(), AffineTransform(low - alpha * slope, slope)])


def logit_forward(x, low, high, alpha):
    """Read torch's chain of transforms backwards."""
    s = (x - low) / (high - low) * (1 - 2 * alpha) + alpha
    z = torch.log(s / (1 - s))
    return z, -chain(low, high, alpha).log_abs_det_jacobian(z, x).sum(dim=1)


def logit_inverse(z, low, high, alpha):
    """Read torch's chain of transforms forwards."""
    slope = (high - low) / (1 - 2 * alpha)
    x = low - alpha * slope + slope * torch.sigmoid(z)
    return x, chain(low, high, alpha).log_abs_det_jacobian(z, x).sum(dim=1)
