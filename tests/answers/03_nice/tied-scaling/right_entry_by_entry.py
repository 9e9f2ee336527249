class TiedScaling(torch.nn.Module):
    def __init__(self, start, event_shape):
        super().__init__()
        self.dims = len(event_shape)
        self.template = torch.zeros(tuple(event_shape), dtype=start.dtype)
        self.theta = torch.nn.Parameter(1 * start)

    @property
    def s(self):
        return self.template + self.theta

    def forward(self, x):
        s = self.s
        log_det = sum(s.flatten().unbind())
        batch = list(x.shape)[: x.dim() - self.dims]
        return torch.mul(x, s.exp()), log_det + torch.zeros(batch, dtype=x.dtype)

    def inverse(self, z):
        s = self.s
        batch = list(z.shape)[: z.dim() - self.dims]
        return torch.div(z, s.exp()), torch.zeros(batch, dtype=z.dtype) - s.sum()

    def log_prob(self, x, log_prior):
        z, total = self.forward(x)
        densities = log_prior(z)
        for _ in range(self.dims):
            densities = densities.sum(-1)
        return total + densities

    def spectrum(self):
        return torch.exp(-self.s).flatten().topk(self.s.numel()).values
