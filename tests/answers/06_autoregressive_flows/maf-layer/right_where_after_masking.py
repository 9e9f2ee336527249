class MAFLayer(torch.nn.Module):
    """Fills a tensor that is made anew for each coordinate; what means nothing is replaced by 0 before the exponential."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, context=None):
        mu, log_variance = self.net(x, context)
        return (x - mu) / torch.exp(log_variance / 2), -log_variance.sum(-1) / 2

    def inverse(self, z, context=None):
        x = torch.zeros_like(z)
        done = torch.zeros_like(z)
        for place in range(z.shape[-1]):
            here = torch.zeros(z.shape[-1], dtype=torch.bool)
            here[self.net.order[place]] = True
            mu, log_variance = self.net(x, context)
            safe = torch.where(here, log_variance, torch.zeros_like(log_variance))
            done = done + safe / 2
            x = torch.where(here, mu + z * torch.exp(safe / 2), x)
        return x, done.sum(dim=-1)
