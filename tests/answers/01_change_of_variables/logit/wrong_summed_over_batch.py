# mistake: The log-determinants are summed over the batch and repeated for every point.
# hint: Ask for one point, then for the same point in a batch of ten: the answer must not change.
def logit_forward(x, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    s = alpha + slope * (x - low)
    log_det = math.log(slope) - s.log() - (1 - s).log()
    return s.log() - (1 - s).log(), log_det.sum().expand(len(x))


def logit_inverse(z, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    x = low + (torch.sigmoid(z) - alpha) / slope
    logsigmoid = torch.nn.functional.logsigmoid
    return x, (logsigmoid(z) + logsigmoid(-z) - math.log(slope)).sum().expand(len(z))
