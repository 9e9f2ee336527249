def sample_by_passes(net, z):
    """A new tensor for each pass."""
    x = torch.zeros_like(z)
    for i in net.order:
        mu, alpha = net(x)
        column = torch.zeros(z.shape[-1], dtype=z.dtype)
        column[i] = 1
        x = x + column * (mu[..., i] + z[..., i] * torch.exp(alpha[..., i]))[..., None]
    return x, gaussian(z) - alpha.sum(-1)


def gaussian(z):
    return -(z * z).sum(-1) / 2 - z.shape[-1] * math.log(2 * math.pi) / 2


def sample_incrementally(net, z):
    """Sorts all layers by degree first, so that what is known is always a slice."""
    D, shape = z.shape[-1], z.shape
    z = z.reshape(-1, D)
    order = torch.tensor(net.order)
    sortings = [order] + [part.argsort(stable=True) for part in net.degrees]
    counts = [[k for k in range(D + 1)]]
    counts += [[int((part <= k).sum()) for k in range(D)] for part in net.degrees]
    weights = [w.detach()[above][:, below] for w, above, below in zip(net.weights, sortings[1:], sortings)]
    biases = [b.detach()[above] for b, above in zip(net.biases, sortings[1:])]
    last, shift = net.weights[-1].detach()[:, sortings[-1]], net.biases[-1].detach()
    h = [z.new_zeros(len(z), len(s)) for s in sortings]
    total = z.new_zeros(len(z))
    for k, i in enumerate(net.order):
        for n, (w, b) in enumerate(zip(weights, biases)):
            start, stop = (counts[n + 1][k - 1] if k else 0), counts[n + 1][k]
            if stop > start:
                known = counts[n][k]
                h[n + 1][:, start:stop] = net.activation(h[n][:, :known] @ w[start:stop, :known].T + b[start:stop])
        known = counts[-1][k]
        mu = h[-1][:, :known] @ last[i, :known] + shift[i]
        alpha = h[-1][:, :known] @ last[D + i, :known] + shift[D + i]
        h[0][:, k] = mu + z[:, i] * alpha.exp()
        total = total + alpha
    x = h[0][:, order.argsort()]
    return x.reshape(shape), (gaussian(z) - total).reshape(shape[:-1])
