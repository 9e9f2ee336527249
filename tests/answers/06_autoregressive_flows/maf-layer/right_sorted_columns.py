class MAFLayer(torch.nn.Module):
    """Keeps a list of what is known, in the order of the network, and sorts it for each call."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.places = sorted(range(len(net.order)), key=lambda i: net.order[i])

    def deviation(self, log_variance):
        return torch.exp(log_variance).sqrt() if log_variance.abs().max() < 50 else torch.exp(log_variance / 2)

    def forward(self, x, context=None):
        mu, log_variance = self.net(x, context)
        return (x - mu) / self.deviation(log_variance), -torch.einsum("...d->...", log_variance) * 0.5

    def inverse(self, z, context=None):
        D, found, logs = z.size(-1), [], []
        for k in range(D):
            i = self.net.order[k]
            rest = [torch.zeros(z.shape[:-1], dtype=z.dtype)] * (D - k)
            x = torch.stack([(found + rest)[place] for place in self.places], dim=-1)
            mu, log_variance = self.net(x, context)
            logs.append(log_variance[..., i])
            found.append(mu[..., i] + z[..., i] * self.deviation(log_variance[..., i]))
        x = torch.stack([found[place] for place in self.places], dim=-1)
        return x, sum(logs) / 2
