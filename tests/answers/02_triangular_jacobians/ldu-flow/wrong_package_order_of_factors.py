# mistake: The factors come in the chapter's order, W = P L U, with the permutation last.
# hint: Here P acts first, on x. Factor another matrix than W so that the factors come out in that order.
class LDUFlow(torch.nn.Module):
    """The linear flow z = W x + b with W = L diag(d) U P.

    matrix: invertible, shape (D, D); the flow starts at W = matrix, b = 0.
    """

    def __init__(self, matrix):
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(matrix)
        diagonal = upper.diagonal()
        self.register_buffer("order", permutation.argmax(dim=1))
        self.register_buffer("signs", diagonal.sign())
        self.log_diagonal = torch.nn.Parameter(diagonal.abs().log())
        self.lower = torch.nn.Parameter(lower.tril(-1))
        self.upper = torch.nn.Parameter((upper / diagonal[:, None]).triu(1))
        self.bias = torch.nn.Parameter(torch.zeros_like(diagonal))

    def factors(self):
        """Return (L, d, U, order) for the present parameters: shapes (D, D), (D,), (D, D), (D,)."""
        one = torch.eye(len(self.bias), dtype=self.bias.dtype)
        return (
            self.lower.tril(-1) + one,
            self.signs * self.log_diagonal.exp(),
            self.upper.triu(1) + one,
            self.order,
        )

    def forward(self, x):
        """Map rows x (N, D) to z (N, D); return z and the log-determinants (N,) of x -> z."""
        L, d, U, order = self.factors()
        z = ((x @ U.T * d) @ L.T)[:, order] + self.bias
        return z, self.log_diagonal.sum().expand(len(x))

    def inverse(self, z):
        """Map rows z (N, D) to x (N, D); return x and the log-determinants (N,) of z -> x."""
        L, d, U, order = self.factors()
        columns = (z - self.bias).T[order.argsort()]
        columns = torch.linalg.solve_triangular(L, columns, upper=False, unitriangular=True)
        columns = torch.linalg.solve_triangular(U, columns / d[:, None], upper=True, unitriangular=True)
        return columns.T, -self.log_diagonal.sum().expand(len(z))
