class TargetNorm(torch.nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        for value in std.tolist():
            if value <= 0:
                raise ValueError(f"a deviation of {value}")
        self.register_buffer("targets", torch.stack([mean, std]))
        self.register_buffer("waits", torch.ones(1, dtype=torch.bool))
        self.bias = torch.nn.Parameter(torch.zeros(len(mean), dtype=mean.dtype))
        self.log_scale = torch.nn.Parameter(torch.zeros(len(mean), dtype=mean.dtype))

    def forward(self, x):
        if self.training and self.waits:
            with torch.no_grad():
                for c in range(len(self.bias)):
                    values = x[..., c, :, :]
                    if values.max() > values.min():
                        self.log_scale[c] = torch.log(self.targets[1, c] / values.std(unbiased=False))
                    self.bias[c] = self.targets[0, c] / self.log_scale[c].exp() - values.mean()
                self.waits[0] = False
        channels = [(x[..., c, :, :] + self.bias[c]) * self.log_scale[c].exp() for c in range(len(self.bias))]
        return torch.stack(channels, dim=-3), self.volume(x)

    def inverse(self, z):
        channels = [z[..., c, :, :] / self.log_scale[c].exp() - self.bias[c] for c in range(len(self.bias))]
        return torch.stack(channels, dim=-3), -self.volume(z)

    def volume(self, x):
        return torch.ones_like(x[..., 0, :, :]).sum(dim=(-1, -2)) * self.log_scale.sum()
