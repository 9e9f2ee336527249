def reverse_kl(q, log_target, n):
    """The other functions' case of groups of one."""
    return -importance_bound(q, log_target, n, 1)


def importance_bound(q, log_target, n, k):
    x, log_q = q.rsample_and_log_prob(n * k)
    log_w = (log_target(x) - log_q).unflatten(0, (n, k))
    top = log_w.amax(dim=1, keepdim=True)
    return (top[:, 0] + torch.log(torch.mean(torch.exp(log_w - top), dim=1))).mean()


def estimate_log_z(q, log_target, n, chunk):
    """Keeps a mean and a sum of squares, in units of the largest weight so far, number by number."""
    height, count, mean, squares = -math.inf, 0, 0.0, 0.0
    with torch.inference_mode():
        while count < n:
            x, log_q = q.rsample_and_log_prob(min(chunk, n - count))
            for value in (log_target(x) - log_q).tolist():
                if value > height:
                    shrink = math.exp(height - value)
                    mean, squares, height = mean * shrink, squares * shrink**2, value
                count += 1
                w = math.exp(value - height) if value > -math.inf else 0.0
                delta = w - mean
                mean += delta / count
                squares += delta * (w - mean)
    s = math.sqrt(squares / (n - 1))
    return height + math.log(mean), s / (mean * math.sqrt(n)), (n * mean) ** 2 / (squares + n * mean**2)
