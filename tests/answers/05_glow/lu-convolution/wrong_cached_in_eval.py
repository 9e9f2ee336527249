# mistake: In eval mode the factors are kept, and a change of the parameters is not seen.
# hint: The present numbers of the parameters count, also in eval mode.
class ShuffledLU(torch.nn.Module):
    """The 1 x 1 convolution with W = L U P: L has the diagonal signs * exp(log_diagonal), U has ones.

    weight: the matrix (C, C) to start at; ValueError if it has a row or a column of zeros.
    """

    def __init__(self, weight):
        super().__init__()
        order, ones, full = torch.linalg.lu(weight.T)  # weight.T = P L U, hence weight = U.T L.T P.T
        diagonal = full.diagonal()
        if (diagonal == 0).any():
            raise ValueError("expected an invertible matrix, found one with a 0 on the diagonal of its factor")
        self.lower = torch.nn.Parameter(full.T)  # factors() takes from both what it needs
        self.upper = torch.nn.Parameter(ones.T)
        self.log_diagonal = torch.nn.Parameter(diagonal.abs().log())
        self.register_buffer("signs", diagonal.sign())
        self.kept = None
        self.register_buffer("order", order.T.argmax(dim=1))  # (P y)[i] = y[order[i]]

    def factors(self):
        """Return L and U."""
        if self.training or self.kept is None:
            diagonal = self.signs * self.log_diagonal.exp()
            self.kept = self.lower.tril(-1) + diagonal.diag(), self.upper.triu(1) + torch.ones_like(diagonal).diag()
        return self.kept

    def log_det(self, x):
        """Return the log-determinants of forward for images of the shape of x."""
        return (x.shape[-1] * x.shape[-2] * self.log_diagonal.sum()).expand(x.shape[:-3])

    def weight(self):
        """Return the present matrix W (C, C)."""
        lower, upper = self.factors()
        return (lower @ upper)[:, self.order.argsort()]

    def forward(self, x):
        """Map x (*batch, C, H, W) to z of the same shape; return z and the log-determinants (*batch) of x -> z."""
        z = (self.weight() @ x.flatten(-2)).reshape(x.shape)
        return z, self.log_det(x)

    def inverse(self, z):
        """Map z (*batch, C, H, W) to x of the same shape; return x and the log-determinants (*batch) of z -> x."""
        lower, upper = self.factors()
        h = torch.linalg.solve_triangular(lower, z.flatten(-2), upper=False)
        h = torch.linalg.solve_triangular(upper, h, upper=True)
        return h[..., self.order.argsort(), :].reshape(z.shape), -self.log_det(z)
