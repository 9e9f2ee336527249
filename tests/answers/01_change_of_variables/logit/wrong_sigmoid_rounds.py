# mistake: The inverse takes the logarithm of a rounded sigmoid, which is minus infinity far out.
# hint: At z = 200 the sigmoid is exactly 1 on a computer: which function gives the logarithm of a sigmoid directly?
def logit_forward(x, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    s = alpha + slope * (x - low)
    log_det = math.log(slope) - s.log() - (1 - s).log()
    return s.log() - (1 - s).log(), log_det.sum(dim=1)


def logit_inverse(z, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    s = torch.sigmoid(z)
    return low + (s - alpha) / slope, (s.log() + (1 - s).log() - math.log(slope)).sum(dim=1)
