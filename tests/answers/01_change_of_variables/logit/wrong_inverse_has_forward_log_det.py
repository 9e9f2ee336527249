# mistake: The inverse returns the log-determinant of the forward direction.
# hint: Each function returns the log-determinant of its own direction; at matching points the two add up to 0.
def logit_forward(x, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    s = alpha + slope * (x - low)
    log_det = math.log(slope) - s.log() - (1 - s).log()
    return s.log() - (1 - s).log(), log_det.sum(dim=1)


def logit_inverse(z, low, high, alpha):
    slope = (1 - 2 * alpha) / (high - low)
    x = low + (torch.sigmoid(z) - alpha) / slope
    logsigmoid = torch.nn.functional.logsigmoid
    return x, (math.log(slope) - logsigmoid(z) - logsigmoid(-z)).sum(dim=1)
