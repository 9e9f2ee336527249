import numpy as np


def reverse_kl(q, log_target, n):
    x, log_q = q.rsample_and_log_prob(n)
    difference = log_q - log_target(x)
    return torch.dot(difference, torch.ones_like(difference)) / n


def importance_bound(q, log_target, n, k):
    x, log_q = q.rsample_and_log_prob(k * n)
    rows = torch.stack((log_target(x) - log_q).split(k))
    return torch.logsumexp(rows - math.log(k), dim=1).mean()


def estimate_log_z(q, log_target, n, chunk):
    """In numpy."""
    log_w = np.empty(n)
    for start in range(0, n, chunk):
        stop = min(start + chunk, n)
        x, log_q = q.rsample_and_log_prob(stop - start)
        log_w[start:stop] = (log_target(x) - log_q).detach().numpy()
    top = log_w.max()
    w = np.exp(log_w - top)
    return float(top + np.log(w.mean())), float(w.std(ddof=1) / w.mean() / n**0.5), float(w.sum() ** 2 / (w**2).sum())
