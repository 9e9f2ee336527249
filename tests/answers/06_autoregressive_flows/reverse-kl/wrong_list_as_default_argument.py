# mistake: The list of log-weights is a default argument, which is kept from call to call.
# hint: A default argument is made once, not at every call.
def reverse_kl(q, log_target, n):
    """Return the mean of log q - log target over n samples of q: KL(q || p) - log Z, with gradients through the samples."""
    x, log_q = q.rsample_and_log_prob(n)
    return (log_q - log_target(x)).mean()


def importance_bound(q, log_target, n, k):
    """Return the mean over n groups of the logarithm of the mean weight of k samples, with gradients through the samples."""
    x, log_q = q.rsample_and_log_prob(n * k)
    log_w = (log_target(x) - log_q).reshape(n, k)
    return (log_w.logsumexp(dim=1) - math.log(k)).mean()


def estimate_log_z(q, log_target, n, chunk, parts=[]):
    """Return the logarithm of the mean weight of n samples, its standard error, and the effective sample size."""
    with torch.no_grad():
        for start in range(0, n, chunk):
            x, log_q = q.rsample_and_log_prob(min(chunk, n - start))
            parts.append(log_target(x) - log_q)
        log_w = torch.cat(parts)
        largest = log_w.max()
        w = (log_w - largest).exp()
        return largest + w.mean().log(), w.std() / (w.mean() * math.sqrt(n)), w.sum().square() / w.square().sum()
