class TiedScaling(torch.nn.Module):
    """Never makes the full s: each parameter counts as often as it has copies."""

    def __init__(self, start, event_shape):
        super().__init__()
        self.event_ndim = len(event_shape)
        self.entries = math.prod(event_shape)
        self.copies = self.entries // start.numel()
        self.s = torch.nn.Parameter(start.detach().clone())

    def forward(self, x):
        batch = x.shape[: x.ndim - self.event_ndim]
        return x * torch.exp(self.s), self.copies * self.s.sum() * x.new_ones(batch)

    def inverse(self, z):
        batch = z.shape[: z.ndim - self.event_ndim]
        return z / torch.exp(self.s), -self.copies * self.s.sum() * z.new_ones(batch)

    def log_prob(self, x, log_prior):
        z, log_det = self.forward(x)
        return log_det + log_prior(z).sum(dim=tuple(range(-self.event_ndim, 0)))

    def spectrum(self):
        factors = torch.exp(-self.s).reshape(-1).repeat(self.copies)
        return torch.sort(factors, descending=True)[0]
