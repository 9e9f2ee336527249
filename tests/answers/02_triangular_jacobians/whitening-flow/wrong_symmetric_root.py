# mistake: W is the symmetric inverse root of the covariance (ZCA): it whitens, but is not triangular.
# hint: A rotation of a whitening matrix still whitens. Which one does the task ask for?
class WhiteningFlow(torch.nn.Module):
    """The affine flow z = W (x - m) that whitens data (N, D), with W upper triangular, positive diagonal."""

    def __init__(self, data):
        super().__init__()
        mean = data.mean(dim=0)
        centered = data - mean
        covariance = centered.T @ centered / len(data)
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.sqrt() @ vectors.T
        self.register_buffer("mean", mean)
        self.register_buffer("weight", torch.linalg.inv(root))

    def forward(self, x):
        """Map rows x (M, D) to z (M, D); return z and the log-determinants (M,) of x -> z."""
        z = (x - self.mean) @ self.weight.T
        return z, torch.linalg.slogdet(self.weight).logabsdet.expand(len(x))

    def inverse(self, z):
        """Map rows z (M, D) to x (M, D); return x and the log-determinants (M,) of z -> x."""
        x = torch.linalg.solve(self.weight, z.T).T + self.mean
        return x, -torch.linalg.slogdet(self.weight).logabsdet.expand(len(z))
