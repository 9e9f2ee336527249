# mistake: Gradients are turned off for good.
# hint: Use with torch.no_grad(), which ends with its block.
def reverse_kl(q, log_target, n):
    """Return the mean of log q - log target over n samples of q: KL(q || p) - log Z, with gradients through the samples."""
    x, log_q = q.rsample_and_log_prob(n)
    return (log_q - log_target(x)).mean()


def importance_bound(q, log_target, n, k):
    """Return the mean over n groups of the logarithm of the mean weight of k samples, with gradients through the samples."""
    x, log_q = q.rsample_and_log_prob(n * k)
    log_w = (log_target(x) - log_q).reshape(n, k)
    return (log_w.logsumexp(dim=1) - math.log(k)).mean()


def estimate_log_z(q, log_target, n, chunk):
    """Return the logarithm of the mean weight of n samples, its standard error, and the effective sample size."""
    log_w = []
    torch.set_grad_enabled(False)
    if n > 0:
        for start in range(0, n, chunk):
            x, log_q = q.rsample_and_log_prob(min(chunk, n - start))
            log_w.append(log_target(x) - log_q)
        log_w = torch.cat(log_w)
        largest = log_w.max()
        w = (log_w - largest).exp()
        return largest + w.mean().log(), w.std() / (w.mean() * math.sqrt(n)), w.sum().square() / w.square().sum()
