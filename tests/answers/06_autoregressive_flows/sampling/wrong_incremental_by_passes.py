# mistake: sample_incrementally makes D passes.
# hint: Which hidden units change when one coordinate becomes known?
def sample_by_passes(net, z):
    """Map noise z (*batch, D) to x by D passes of the network; return x and its log-densities (*batch)."""
    columns = [torch.zeros_like(z[..., 0])] * z.shape[-1]
    log_det = torch.zeros_like(z[..., 0])
    for i in net.order:
        mu, alpha = net(torch.stack(columns, dim=-1))
        columns[i] = mu[..., i] + z[..., i] * alpha[..., i].exp()
        log_det = log_det + alpha[..., i]
    return torch.stack(columns, dim=-1), normal_log_density(z) - log_det


def normal_log_density(z):
    """Return the log-density of noise (*batch, D)."""
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def sample_incrementally(net, z):
    """Map noise z (*batch, D) to x, computing every hidden unit once; return x and its log-densities (*batch)."""
    with torch.no_grad():
        return sample_by_passes(net, z)
