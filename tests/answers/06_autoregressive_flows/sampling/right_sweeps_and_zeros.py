def sample_by_passes(net, z):
    """All coordinates in every pass: after k passes the first k of the order are right, and stay so."""
    x = torch.zeros_like(z)
    for _ in range(z.shape[-1]):
        mu, alpha = net(x)
        x = mu + alpha.exp() * z
    return x, -z.pow(2).sum(-1).div(2) - alpha.sum(-1) - z.shape[-1] * math.log(2 * math.pi) / 2


def sample_incrementally(net, z):
    """Looks at the zeros of the weights, not at the degrees: a unit is due when all that it reads is there."""
    D = z.shape[-1]
    weights, biases = [w.detach() for w in net.weights], [b.detach() for b in net.biases]
    layers = [torch.zeros_like(z)] + [z.new_zeros(*z.shape[:-1], len(b)) for b in biases[:-1]]
    ready = [torch.zeros(layer.shape[-1], dtype=torch.bool) for layer in layers]
    total = 0
    for i in net.order:
        for n in range(len(biases) - 1):
            due = ~ready[n + 1] & ~((weights[n] != 0) & ~ready[n]).any(dim=1)
            if due.any():
                sums = torch.nn.functional.linear(layers[n], weights[n][due], biases[n][due])
                layers[n + 1][..., due] = net.activation(sums)
                ready[n + 1] |= due
        mu = (layers[-1] * weights[-1][i]).sum(-1) + biases[-1][i]
        alpha = (layers[-1] * weights[-1][D + i]).sum(-1) + biases[-1][D + i]
        layers[0][..., i] = mu + z[..., i] * alpha.exp()
        ready[0][i] = True
        total = total + alpha
    return layers[0], -z.pow(2).sum(-1).div(2) - total - D * math.log(2 * math.pi) / 2
