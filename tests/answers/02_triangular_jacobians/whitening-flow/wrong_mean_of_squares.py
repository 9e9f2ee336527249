# mistake: The covariance is the mean of the squares minus the square of the mean, which cancels far from the origin.
# hint: Subtract the mean first, then square: two large numbers that nearly agree leave no digits.
class WhiteningFlow(torch.nn.Module):
    """The affine flow z = W (x - m) that whitens data (N, D), with W upper triangular, positive diagonal."""

    def __init__(self, data):
        super().__init__()
        mean = data.mean(dim=0)
        covariance = data.T @ data / len(data) - torch.outer(mean, mean)
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
