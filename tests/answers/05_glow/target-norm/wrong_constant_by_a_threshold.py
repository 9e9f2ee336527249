# mistake: A channel counts as constant where its deviation is small beside its mean.
# hint: Compare the numbers themselves: a channel far from 0 is not constant.
class TargetNorm(torch.nn.Module):
    """z = (x + bias) * exp(log_scale) for each channel; the first batch of training comes out with a prescribed mean and std.

    mean, std: tensors (C,); ValueError if an entry of std is not positive.
    """

    def __init__(self, mean, std):
        super().__init__()
        if not (std > 0).all():
            raise ValueError(f"expected positive deviations, found {std.tolist()}")
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.register_buffer("started", torch.tensor(False))
        self.bias = torch.nn.Parameter(torch.zeros_like(mean))
        self.log_scale = torch.nn.Parameter(torch.zeros_like(mean))

    @torch.no_grad()
    def start(self, x):
        """Set bias and log_scale by the first batch."""
        values = x.movedim(-3, 0).flatten(1)
        std, mean = torch.std_mean(values, dim=1, correction=0)
        constant = std <= 1e-6 * mean.abs()
        self.log_scale.copy_(torch.where(constant, 0.0, (self.std / std).log()))
        self.bias.copy_(self.mean * (-self.log_scale).exp() - mean)
        self.started.fill_(True)

    def log_det(self, x):
        """Return the log-determinants of forward for images of the shape of x."""
        return (x.shape[-1] * x.shape[-2] * self.log_scale.sum()).expand(x.shape[:-3])

    def forward(self, x):
        """Map x (*batch, C, H, W) to z of the same shape; return z and the log-determinants (*batch) of x -> z."""
        if self.training and not self.started:
            self.start(x)
        return (x + self.bias[:, None, None]) * self.log_scale.exp()[:, None, None], self.log_det(x)

    def inverse(self, z):
        """Map z (*batch, C, H, W) to x of the same shape; return x and the log-determinants (*batch) of z -> x."""
        return z * (-self.log_scale).exp()[:, None, None] - self.bias[:, None, None], -self.log_det(z)
