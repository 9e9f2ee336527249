class WhiteningFlow(torch.nn.Module):
    """W^T W is the inverse covariance, so W is the transpose of the lower factor of that matrix."""

    def __init__(self, data):
        super().__init__()
        covariance = torch.cov(data.T, correction=0).reshape(data.shape[1], data.shape[1])
        scale = covariance.diagonal().sqrt()
        correlation = covariance / scale / scale[:, None]
        lower = torch.linalg.cholesky(torch.linalg.inv(correlation))
        self.register_buffer("center", data.mean(0, keepdim=True))
        self.register_buffer("W", lower.mT / scale)

    def forward(self, x):
        z = torch.nn.functional.linear(x - self.center, self.W)
        return z, torch.linalg.slogdet(self.W).logabsdet.repeat(len(z))

    def inverse(self, z):
        x = torch.linalg.solve(self.W, z.mT).mT + self.center
        return x, -torch.linalg.slogdet(self.W).logabsdet.repeat(len(z))
