class TargetNorm(torch.nn.Module):
    """Works with the dimensions of the batch as they come, and counts the batches it has met."""

    def __init__(self, mean, std):
        super().__init__()
        if (std <= 0).any():
            raise ValueError("every deviation must be positive")
        self.bias = torch.nn.Parameter(mean.detach() * 0)
        self.log_scale = torch.nn.Parameter(mean.detach() * 0)
        self.register_buffer("m", mean.detach().clone())
        self.register_buffer("d", std.detach().clone())
        self.register_buffer("met", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        C, H, W = x.shape[-3:]
        if self.training:
            if self.met.item() == 0:
                self.initialize(x.detach())
            self.met += 1
        z = (x + self.bias.view(C, 1, 1)) * torch.exp(self.log_scale).view(C, 1, 1)
        return z, H * W * self.log_scale.sum() + torch.zeros(x.shape[:-3], dtype=x.dtype)

    def initialize(self, x):
        others = [k for k in range(x.dim()) if k != x.dim() - 3]
        count = x.numel() / x.shape[-3]
        center = x.sum(dim=others) / count
        variance = (x - center.view(-1, 1, 1)).pow(2).sum(dim=others) / count
        varies = (x != x.flatten(-2)[..., :1].reshape(-1, x.shape[-3])[0].view(-1, 1, 1)).sum(dim=others) > 0
        scale = torch.where(varies, self.d / variance.sqrt(), torch.ones_like(center))
        self.log_scale.data.copy_(scale.log())
        self.bias.data.copy_(self.m / scale - center)

    def inverse(self, z):
        C, H, W = z.shape[-3:]
        x = z / torch.exp(self.log_scale).view(C, 1, 1) - self.bias.view(C, 1, 1)
        return x, torch.zeros(z.shape[:-3], dtype=z.dtype) - H * W * self.log_scale.sum()
