# mistake: Mean and covariance are computed anew from every batch that comes in.
# hint: Map one point alone, then in a batch. A flow is one fixed map.
class WhiteningFlow(torch.nn.Module):
    """The affine flow z = W (x - m) that whitens data (N, D), with W upper triangular, positive diagonal."""

    def __init__(self, data):
        super().__init__()
        self.register_buffer("mean", data.mean(dim=0))
        self.register_buffer("weight", torch.eye(data.shape[1], dtype=data.dtype))
        self.fit(data)

    def fit(self, data):
        centered = data - data.mean(dim=0)
        root = torch.linalg.cholesky((centered.T @ centered / len(data)).flip(0, 1)).flip(0, 1)
        self.mean = data.mean(dim=0)
        self.weight = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=root.dtype), upper=True)

    def forward(self, x):
        """Map rows x (M, D) to z (M, D); return z and the log-determinants (M,) of x -> z."""
        if len(x) > x.shape[1]:
            self.fit(x)
        z = (x - self.mean) @ self.weight.T
        return z, self.weight.diagonal().log().sum().expand(len(x))

    def inverse(self, z):
        """Map rows z (M, D) to x (M, D); return x and the log-determinants (M,) of z -> x."""
        x = torch.linalg.solve_triangular(self.weight, z.T, upper=True).T + self.mean
        return x, -self.weight.diagonal().log().sum().expand(len(z))
