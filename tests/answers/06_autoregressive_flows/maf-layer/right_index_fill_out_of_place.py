class MAFLayer(torch.nn.Module):
    """Starts from z itself, replaces one coordinate at a time, takes the log-determinant of the last pass."""

    def __init__(self, net):
        super().__init__()
        self.add_module("net", net)

    def forward(self, x, context=None):
        mu, log_variance = self.net(x, context)
        half = log_variance.mul(0.5)
        return x.sub(mu).mul(half.neg().exp()), half.sum(-1).neg()

    def inverse(self, z, context=None):
        x = z * 0
        for i in self.net.order:
            mu, log_variance = self.net(x, context)
            new = torch.addcmul(mu[..., i], z[..., i], log_variance[..., i].div(2).exp())
            x = x.clone()
            x[..., i] = new
        return x, log_variance.sum(-1) / 2
