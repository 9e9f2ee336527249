def reverse_kl(q, log_target, n):
    points, log_q = q.rsample_and_log_prob(n)
    return torch.mean(log_q) - torch.mean(log_target(points))


def importance_bound(q, log_target, n, k):
    points, log_q = q.rsample_and_log_prob(n * k)
    log_p = log_target(points)
    groups = [torch.logsumexp(log_p[g * k : (g + 1) * k] - log_q[g * k : (g + 1) * k], 0) for g in range(n)]
    return sum(groups) / n - math.log(k)


@torch.no_grad()
def estimate_log_z(q, log_target, n, chunk):
    """Only the logarithms of two sums are kept from chunk to chunk; then Var = E[w^2] - E[w]^2, in logarithms."""
    first = second = torch.tensor(-math.inf, dtype=torch.float64)
    done = 0
    while done < n:
        count = min(chunk, n - done)
        points, log_q = q.rsample_and_log_prob(count)
        log_w = (log_target(points) - log_q).to(torch.float64)
        first = torch.logaddexp(first, torch.logsumexp(log_w, 0))
        second = torch.logaddexp(second, torch.logsumexp(2 * log_w, 0))
        done += count
    ratio = torch.exp(second - 2 * first)  # sum of squares over the square of the sum
    relative = torch.clamp(ratio * n - 1, min=0) * n / (n - 1)  # s^2 / mean^2
    return first - math.log(n), torch.sqrt(relative / n), 1 / ratio
