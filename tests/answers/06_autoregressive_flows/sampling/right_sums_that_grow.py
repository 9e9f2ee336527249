def sample_by_passes(net, z):
    known = {}
    for i in net.order:
        x = torch.stack([known.get(j, torch.zeros_like(z[..., j])) for j in range(z.shape[-1])], -1)
        mu, alpha = net(x)
        known[i] = torch.addcmul(mu, z, alpha.exp())[..., i] if alpha.max() < 50 else mu[..., i] + z[..., i] * alpha[..., i].exp()
    normal = torch.distributions.Normal(torch.zeros((), dtype=z.dtype), 1)
    return torch.stack([known[j] for j in range(z.shape[-1])], -1), normal.log_prob(z).sum(-1) - alpha.sum(-1)


@torch.no_grad()
def sample_incrementally(net, z):
    """Whatever becomes known is added at once to the sums of all units above it, column by column."""
    D = z.shape[-1]
    sums = [b.expand(*z.shape[:-1], len(b)).clone() for b in net.biases]
    x = torch.empty_like(z)

    def put(layer, columns, values):
        """The values of some units of a layer go into the sums of the layer above."""
        sums[layer] += torch.einsum("...c,oc->...o", values, net.weights[layer][:, columns])

    for k in range(D):
        for layer, degree in enumerate(net.degrees):
            units = torch.nonzero(degree == k).flatten().tolist()
            if units:
                put(layer + 1, units, net.activation(sums[layer][..., units]))
        i = net.order[k]
        alpha = sums[-1][..., D + i]
        x[..., i] = sums[-1][..., i] + z[..., i] * alpha.exp()
        put(0, [i], x[..., [i]])
    normal = torch.distributions.Normal(torch.zeros((), dtype=z.dtype), 1)
    return x, normal.log_prob(z).sum(-1) - sums[-1][..., D:].sum(-1)
