# mistake: The inverse clamps its result to the interval, so it is no inverse far out and has no gradient there.
# hint: Read again what has to happen to a latent point that lies far out.
def logit_forward(x, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    s = alpha + slope * (x - low)
    log_det = math.log(slope) - s.log() - (1 - s).log()
    return s.log() - (1 - s).log(), log_det.sum(dim=1)


def logit_inverse(z, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    x = (low + (torch.sigmoid(z) - alpha) / slope).clamp(low, high)
    logsigmoid = torch.nn.functional.logsigmoid
    return x, (logsigmoid(z) + logsigmoid(-z) - math.log(slope)).sum(dim=1)
