# mistake: Mean and matrix are plain attributes, so the state dictionary is empty.
# hint: What does state_dict() hold? A saved flow has to be the same flow when it is loaded.
class WhiteningFlow(torch.nn.Module):
    """The affine flow z = W (x - m) that whitens data (N, D), with W upper triangular, positive diagonal."""

    def __init__(self, data):
        super().__init__()
        mean = data.mean(dim=0)
        centered = data - mean
        covariance = centered.T @ centered / len(data)
        lower = torch.linalg.cholesky(covariance.flip(0, 1))  # the coordinates turned round
        root = lower.flip(0, 1)  # upper triangular, root root^T = covariance
        one = torch.eye(len(mean), dtype=data.dtype)
        self.mean = mean
        self.weight = torch.linalg.solve_triangular(root, one, upper=True)

    def forward(self, x):
        """Map rows x (M, D) to z (M, D); return z and the log-determinants (M,) of x -> z."""
        z = (x - self.mean) @ self.weight.T
        return z, self.weight.diagonal().log().sum().expand(len(x))

    def inverse(self, z):
        """Map rows z (M, D) to x (M, D); return x and the log-determinants (M,) of z -> x."""
        x = torch.linalg.solve_triangular(self.weight, z.T, upper=True).T + self.mean
        return x, -self.weight.diagonal().log().sum().expand(len(z))
