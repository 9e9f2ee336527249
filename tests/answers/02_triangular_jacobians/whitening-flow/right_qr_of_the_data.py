class WhiteningFlow(torch.nn.Module):
    """QR of the centered data with the columns turned round: the covariance is never formed."""

    def __init__(self, data):
        super().__init__()
        mean = data.mean(dim=0)
        R = torch.linalg.qr((data - mean).flip(1), mode="r").R / math.sqrt(data.shape[0])
        R = R * R.diagonal().sign()[:, None]
        self.mean = torch.nn.Parameter(mean)
        self.root = torch.nn.Parameter(R.T.flip(0, 1))

    def forward(self, x):
        rows = torch.linalg.solve_triangular(self.root.T, x - self.mean, upper=False, left=False)
        return rows, -self.root.diagonal().abs().log().sum() + torch.zeros_like(x[:, 0])

    def inverse(self, z):
        return self.mean + z @ self.root.T, self.root.diagonal().abs().log().sum() + torch.zeros_like(z[:, 0])
