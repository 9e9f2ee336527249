# mistake: The squashed number is held away from 0 and 1 by a clamp, which moves points near the ends.
# hint: With a small alpha a point may come very near to 0 or 1 and has an image far out: what does a clamp make of it?
import torch.nn.functional as F


def logit_forward(x, low, high, alpha):
    s = (alpha + (1 - 2 * alpha) * (x - low) / (high - low)).clamp(1e-6, 1 - 1e-6)
    z = s.log() - (1 - s).log()
    log_det = (math.log(1 - 2 * alpha) - math.log(high - low) - s.log() - (1 - s).log()).sum(1)
    return z, log_det


def logit_inverse(z, low, high, alpha):
    s = torch.sigmoid(z)
    x = low + (high - low) * (s - alpha) / (1 - 2 * alpha)
    log_det = (F.logsigmoid(z) + F.logsigmoid(-z) + math.log(high - low) - math.log(1 - 2 * alpha)).sum(1)
    return x, log_det
