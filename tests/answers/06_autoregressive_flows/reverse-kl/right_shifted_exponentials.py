def log_weights(q, log_target, n):
    x, log_q = q.rsample_and_log_prob(n)
    return log_target(x) - log_q


def log_mean_exp(log_w):
    largest = log_w.max(dim=-1, keepdim=True).values.detach()
    return (log_w - largest).exp().mean(dim=-1).log() + largest.squeeze(-1)


def reverse_kl(q, log_target, n):
    """By the log-weights."""
    return -log_weights(q, log_target, n).sum() / n


def importance_bound(q, log_target, n, k):
    """With a maximum of each group, which is subtracted by hand."""
    return log_mean_exp(log_weights(q, log_target, n * k).view(n, k)).mean()


def estimate_log_z(q, log_target, n, chunk):
    """All log-weights are kept; the results are Python numbers."""
    parts, left = [], n
    while left > 0:
        with torch.no_grad():
            parts.append(log_weights(q, log_target, min(left, chunk)).double())
        left -= chunk
    log_w = torch.cat(parts)
    share = torch.softmax(log_w, dim=0)
    error = share.std().item() * math.sqrt(n)
    return log_mean_exp(log_w).item(), error, 1 / share.square().sum().item()
