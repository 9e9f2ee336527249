def composed_log_density(x, inverses, base_log_prob):
    """Collect the log-determinants in a table and add them at the end."""
    log_dets = [torch.zeros(x.shape[0], dtype=x.dtype)]
    for k in range(len(inverses) - 1, -1, -1):
        x, log_det = inverses[k](x)
        log_dets.append(log_det)
    return torch.stack(log_dets).sum(dim=0) + base_log_prob(x)


def log_densities_along(z, steps, base_log_prob):
    """The rows are the base's log-density minus a cumulative sum over the steps."""
    start = base_log_prob(z)
    log_dets = [torch.zeros_like(start)]
    for g in steps:
        z, log_det = g(z)
        log_dets.append(log_det)
    return z, start.unsqueeze(0) - torch.cumsum(torch.stack(log_dets), dim=0)
