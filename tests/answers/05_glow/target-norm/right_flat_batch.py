class TargetNorm(torch.nn.Module):
    """Works on one flat batch of images; log-determinants by a sum over all entries."""

    def __init__(self, mean, std):
        super().__init__()
        if not bool((std > 0).all()):
            raise ValueError("std")
        shape = (len(mean), 1, 1)
        self.register_buffer("goal", mean.clone().reshape(shape))
        self.register_buffer("spread", std.clone().reshape(shape))
        self.register_buffer("done", torch.tensor(0.0))
        self.bias = torch.nn.Parameter(torch.zeros_like(mean))
        self.log_scale = torch.nn.Parameter(torch.zeros_like(mean))

    def set_up(self, x):
        flat = x.detach().reshape(-1, *x.shape[-3:])
        variance, center = torch.var_mean(flat, dim=(0, 2, 3), keepdim=True, correction=0)
        variance, center = variance[0], center[0]
        varies = flat.amax(dim=(0, 2, 3), keepdim=True)[0] > flat.amin(dim=(0, 2, 3), keepdim=True)[0]
        s = torch.where(varies, self.spread.log() - 0.5 * variance.log(), 0)
        with torch.no_grad():
            self.log_scale.copy_(s.flatten())
            self.bias.copy_((self.goal / s.exp() - center).flatten())
        self.done.fill_(1.0)

    def forward(self, x):
        if self.training and self.done == 0:
            self.set_up(x)
        s = self.log_scale[:, None, None]
        return (x + self.bias[:, None, None]) * s.exp(), s.expand(x.shape).sum(dim=(-1, -2, -3))

    def inverse(self, z):
        s = self.log_scale[:, None, None]
        return z * (-s).exp() - self.bias[:, None, None], -s.expand(z.shape).sum(dim=(-1, -2, -3))
