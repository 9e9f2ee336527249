# mistake: The interval's lower end is subtracted in place, in the tensor of whoever called.
# hint: x -= low changes the tensor that you were given: write x - low.
import torch.nn.functional as F


def logit_forward(x, low, high, alpha):
    if not x.requires_grad:
        x -= low
    else:
        x = x - low
    s = alpha + (1 - 2 * alpha) * x / (high - low)
    z = s.log() - (1 - s).log()
    log_det = (math.log(1 - 2 * alpha) - math.log(high - low) - s.log() - (1 - s).log()).sum(1)
    return z, log_det


def logit_inverse(z, low, high, alpha):
    s = torch.sigmoid(z)
    x = low + (high - low) * (s - alpha) / (1 - 2 * alpha)
    log_det = (F.logsigmoid(z) + F.logsigmoid(-z) + math.log(high - low) - math.log(1 - 2 * alpha)).sum(1)
    return x, log_det
