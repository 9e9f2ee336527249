class MAFLayer(torch.nn.Module):
    """By recursion over the places; what is not known yet is 1."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, context=None):
        mu, log_variance = self.net(x, context)
        return (x - mu) * torch.exp(torch.mul(log_variance, -0.5)), torch.einsum("...i->...", -0.5 * log_variance)

    def find(self, k, z, context):
        """The first k coordinates of the order, and their share of the log-determinant."""
        if k == 0:
            return {}, 0.0
        known, log_det = self.find(k - 1, z, context)
        i = self.net.order[k - 1]
        columns = [known[j] if j in known else torch.ones_like(z[..., j]) for j in range(z.shape[-1])]
        mu, log_variance = self.net(torch.stack(columns, dim=-1), context)
        known[i] = mu[..., i] + z[..., i] * (log_variance[..., i] / 2).exp()
        return known, log_det + log_variance[..., i] / 2

    def inverse(self, z, context=None):
        known, log_det = self.find(z.shape[-1], z, context)
        return torch.stack([known[j] for j in range(z.shape[-1])], dim=-1), log_det
