def sample_by_passes(net, z):
    D = len(net.order)
    x, total = z * 0, 0
    for i in net.order:
        mu, alpha = net(x)
        here = torch.arange(D) == i
        safe = torch.where(here, alpha, torch.zeros_like(alpha))
        x = torch.where(here, mu + z * safe.exp(), x)
        total = total + safe.sum(-1)
    return x, -0.5 * (z**2).sum(-1) - 0.5 * D * math.log(2 * math.pi) - total


def sample_incrementally(net, z):
    """Unit by unit, with products and sums instead of matrices; whatever is not known yet is 0."""
    D = len(net.order)
    weights, biases = [w.detach() for w in net.weights], [b.detach() for b in net.biases]
    x, total = torch.zeros_like(z), torch.zeros_like(z[..., 0])
    layers = [torch.zeros(*z.shape[:-1], len(b), dtype=z.dtype) for b in biases[:-1]]
    for k, i in enumerate(net.order):
        below = x
        for degrees, w, b, h in zip(net.degrees, weights, biases, layers):
            for unit in range(len(degrees)):
                if degrees[unit] == k:
                    h[..., unit] = net.activation((below * w[unit]).sum(-1) + b[unit])
            below = h
        mu, alpha = ((below * weights[-1][row]).sum(-1) + biases[-1][row] for row in (i, D + i))
        x[..., i] = mu + z[..., i] * alpha.exp()
        total += alpha
    return x, -0.5 * (z**2).sum(-1) - 0.5 * D * math.log(2 * math.pi) - total
