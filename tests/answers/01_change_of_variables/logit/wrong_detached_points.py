# mistake: The points are detached, so a flow before or after this map cannot be trained.
# hint: Gradients must pass through the points too, not only through the log-determinants.
import torch.nn.functional as F


def logit_forward(x, low, high, alpha):
    s = alpha + (1 - 2 * alpha) * (x - low) / (high - low)
    z = s.log() - (1 - s).log()
    log_det = (math.log(1 - 2 * alpha) - math.log(high - low) - s.log() - (1 - s).log()).sum(1)
    return z.detach(), log_det


def logit_inverse(z, low, high, alpha):
    s = torch.sigmoid(z)
    x = low + (high - low) * (s - alpha) / (1 - 2 * alpha)
    log_det = (F.logsigmoid(z) + F.logsigmoid(-z) + math.log(high - low) - math.log(1 - 2 * alpha)).sum(1)
    return x.detach(), log_det
