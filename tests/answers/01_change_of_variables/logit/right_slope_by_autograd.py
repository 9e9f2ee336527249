import torch.nn.functional as F


def slope(fn, x):
    leaf = x if x.requires_grad else x.detach().clone().requires_grad_(True)
    y = fn(leaf)
    return y, torch.autograd.grad(y.sum(), leaf, create_graph=True)[0]


def logit_forward(x, low, high, alpha):
    def fn(p):
        return torch.logit(alpha + (1 - 2 * alpha) * (p - low) / (high - low))

    z, g = slope(fn, x)
    return z, g.log().sum(1)


def logit_inverse(z, low, high, alpha):
    x = low + (high - low) * (torch.sigmoid(z) - alpha) / (1 - 2 * alpha)
    c = torch.tensor(high - low).log() - torch.tensor(1 - 2 * alpha).log()
    return x, (c - F.softplus(z) - F.softplus(-z)).sum(1)
