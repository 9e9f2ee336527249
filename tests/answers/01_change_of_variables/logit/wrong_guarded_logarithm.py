# mistake: A small number is added inside the logarithms, which hides the infinity and gives a wrong value.
# hint: A guard such as 1e-12 makes a result finite, not right: rewrite the formula instead.
def logit_forward(x, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    s = alpha + slope * (x - low)
    log_det = math.log(slope) - s.log() - (1 - s).log()
    return s.log() - (1 - s).log(), log_det.sum(dim=1)


def logit_inverse(z, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    s = torch.sigmoid(z)
    log_det = torch.log(s + 1e-12) + torch.log(1 - s + 1e-12) - math.log(slope)
    return low + (s - alpha) / slope, log_det.sum(dim=1)
