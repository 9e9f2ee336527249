class TiedScaling(torch.nn.Module):
    """Every entry of a point has a place in the parameter, found once by broadcasting a range."""

    def __init__(self, start, event_shape):
        super().__init__()
        self.shape = torch.Size(event_shape)
        index = torch.arange(start.numel()).reshape(start.shape)
        self.register_buffer("place", torch.broadcast_to(index, self.shape).reshape(-1).clone())
        self.log_scale = torch.nn.Parameter(torch.empty_like(start))
        with torch.no_grad():
            self.log_scale.copy_(start)

    def _run(self, points, sign):
        s = sign * self.log_scale.reshape(-1)[self.place]
        batch = points.shape[: points.dim() - len(self.shape)]
        flat = points.reshape(*batch, len(self.place))
        moved = (flat * s.exp()).reshape(points.shape)
        return moved, s.sum().repeat(batch) if len(batch) else s.sum()

    def forward(self, x):
        return self._run(x, 1)

    def inverse(self, z):
        return self._run(z, -1)

    def log_prob(self, x, log_prior):
        z, log_det = self.forward(x)
        return torch.flatten(log_prior(z), start_dim=x.dim() - len(self.shape)).sum(-1) + log_det

    def spectrum(self):
        return (-self.log_scale.reshape(-1).sort().values).exp().repeat_interleave(len(self.place) // self.log_scale.numel())
