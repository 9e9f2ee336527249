class TiedScaling(torch.nn.Module):
    def __init__(self, start, event_shape):
        super().__init__()
        self.shape = torch.Size(event_shape)
        self.log_s = torch.nn.Parameter(torch.empty_like(start).copy_(start))

    def volume(self, x):
        each = self.log_s.sum() * (self.shape.numel() / self.log_s.numel())
        return torch.zeros_like(x).flatten(x.dim() - len(self.shape)).sum(dim=-1) + each

    def forward(self, x):
        return torch.mul(x, torch.exp(self.log_s)), self.volume(x)

    def inverse(self, z):
        return torch.div(z, torch.exp(self.log_s)), -self.volume(z)

    def log_prob(self, x, log_prior):
        z, log_det = self(x)
        return torch.einsum("...i->...", log_prior(z).flatten(z.dim() - len(self.shape))) + log_det

    def spectrum(self):
        factors = torch.broadcast_to(1 / self.log_s.exp(), self.shape).reshape(-1)
        return torch.topk(factors, factors.numel()).values
