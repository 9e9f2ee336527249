# mistake: alpha is clamped against overflow.
# hint: Nothing is to be cut off: alpha may be as large or small as the network says.
def sample_by_passes(net, z):
    """Map noise z (*batch, D) to x by D passes of the network; return x and its log-densities (*batch)."""
    columns = [torch.zeros_like(z[..., 0])] * z.shape[-1]
    log_det = torch.zeros_like(z[..., 0])
    for i in net.order:
        mu, alpha = net(torch.stack(columns, dim=-1))
        alpha = alpha.clamp(-7, 7)
        columns[i] = mu[..., i] + z[..., i] * alpha[..., i].exp()
        log_det = log_det + alpha[..., i]
    return torch.stack(columns, dim=-1), normal_log_density(z) - log_det


def normal_log_density(z):
    """Return the log-density of noise (*batch, D)."""
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


def sample_incrementally(net, z):
    """Map noise z (*batch, D) to x, computing every hidden unit once; return x and its log-densities (*batch)."""
    D = z.shape[-1]
    with torch.no_grad():
        noise = z.reshape(-1, D).T  # a row for each coordinate, a column for each point
        degrees = [torch.tensor(net.order).argsort() + 1, *net.degrees]
        values = [noise.new_zeros(len(degree), noise.shape[1]) for degree in degrees]
        log_det = noise.new_zeros(noise.shape[1])
        for k, i in enumerate(net.order):
            for layer in range(1, len(degrees)):
                units, known = degrees[layer] == k, degrees[layer - 1] <= k
                weight, bias = net.weights[layer - 1][units][:, known], net.biases[layer - 1][units]
                values[layer][units] = net.activation(weight @ values[layer - 1][known] + bias[:, None])
            seen, rows = degrees[-1] <= k, [i, D + i]
            mu, alpha = net.weights[-1][rows][:, seen] @ values[-1][seen] + net.biases[-1][rows][:, None]
            alpha = alpha.clamp(-7, 7)
            values[0][i] = mu + noise[i] * alpha.exp()
            log_det += alpha
        return values[0].T.reshape(z.shape), normal_log_density(z) - log_det.reshape(z.shape[:-1])
