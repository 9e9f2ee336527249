# mistake: W is the inverse of the Cholesky factor: it whitens, but is lower triangular.
# hint: Which coordinate of z may depend on x_0 alone in your answer, and which in the task?
class WhiteningFlow(torch.nn.Module):
    """The affine flow z = W (x - m) that whitens data (N, D), with W upper triangular, positive diagonal."""

    def __init__(self, data):
        super().__init__()
        mean = data.mean(dim=0)
        centered = data - mean
        covariance = centered.T @ centered / len(data)
        root = torch.linalg.cholesky(covariance)
        one = torch.eye(len(mean), dtype=data.dtype)
        self.register_buffer("mean", mean)
        self.register_buffer("weight", torch.linalg.solve_triangular(root, one, upper=False))

    def forward(self, x):
        """Map rows x (M, D) to z (M, D); return z and the log-determinants (M,) of x -> z."""
        z = (x - self.mean) @ self.weight.T
        return z, self.weight.diagonal().log().sum().expand(len(x))

    def inverse(self, z):
        """Map rows z (M, D) to x (M, D); return x and the log-determinants (M,) of z -> x."""
        x = torch.linalg.solve_triangular(self.weight, z.T, upper=False).T + self.mean
        return x, -self.weight.diagonal().log().sum().expand(len(z))
