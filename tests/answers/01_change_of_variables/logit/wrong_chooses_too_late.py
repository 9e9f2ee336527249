# mistake: torch.where chooses between two logarithms, and the one not chosen still sends NaN into the gradient.
# hint: 0 times infinity is NaN, in a gradient too: use a form that is right everywhere, such as logsigmoid.
def logit_forward(x, low, high, alpha):
    s = alpha + (1 - 2 * alpha) * (x - low) / (high - low)
    z = s.log() - (1 - s).log()
    log_det = (math.log(1 - 2 * alpha) - math.log(high - low) - s.log() - (1 - s).log()).sum(1)
    return z, log_det


def logit_inverse(z, low, high, alpha):
    s = torch.sigmoid(z)
    x = low + (high - low) * (s - alpha) / (1 - 2 * alpha)
    log_s = torch.where(z.abs() > 15, -z.abs(), s.log() + (1 - s).log())
    return x, (log_s + math.log(high - low) - math.log(1 - 2 * alpha)).sum(1)
