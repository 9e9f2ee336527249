# mistake: The covariance has N - 1 below the line.
# hint: The task says N. Which of the two makes the likelihood largest?
class WhiteningFlow(torch.nn.Module):
    """The affine flow z = W (x - m) that whitens data (N, D), with W upper triangular, positive diagonal."""

    def __init__(self, data):
        super().__init__()
        mean = data.mean(dim=0)
        centered = data - mean
        covariance = centered.T @ centered / (len(data) - 1)
        lower = torch.linalg.cholesky(covariance.flip(0, 1))  # the coordinates turned round
        root = lower.flip(0, 1)  # upper triangular, root root^T = covariance
        one = torch.eye(len(mean), dtype=data.dtype)
        self.register_buffer("mean", mean)
        self.register_buffer("weight", torch.linalg.solve_triangular(root, one, upper=True))

    def forward(self, x):
        """Map rows x (M, D) to z (M, D); return z and the log-determinants (M,) of x -> z."""
        z = (x - self.mean) @ self.weight.T
        return z, self.weight.diagonal().log().sum().expand(len(x))

    def inverse(self, z):
        """Map rows z (M, D) to x (M, D); return x and the log-determinants (M,) of z -> x."""
        x = torch.linalg.solve_triangular(self.weight, z.T, upper=True).T + self.mean
        return x, -self.weight.diagonal().log().sum().expand(len(z))
