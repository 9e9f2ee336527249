# mistake: The inverse multiplies the factors and asks a general solver, which factors the matrix anew in every call.
# hint: You hold L and U already: each of them can be undone by torch.linalg.solve_triangular.
class LDUFlow(torch.nn.Module):
    def __init__(self, matrix):
        super().__init__()
        D = matrix.shape[0]
        # W^T = P1 L1 U1  ->  W = U1^T L1^T P1^T
        P1, L1, U1 = torch.linalg.lu(matrix.detach().T)
        d = U1.diagonal()
        L = (U1 / d[:, None]).T  # unit lower
        # U1 = diag(d) U', W = U'^T diag(d) L1^T P1^T
        U = L1.T
        P = P1.T
        self.register_buffer("order", P.argmax(dim=1))
        self.register_buffer("signs", d.sign())
        self.log_d = torch.nn.Parameter(d.abs().log())
        self.lower = torch.nn.Parameter(L.tril(-1).clone())
        self.upper = torch.nn.Parameter(U.triu(1).clone())
        self.b = torch.nn.Parameter(torch.zeros(D, dtype=matrix.dtype))

    def factors(self):
        eye = torch.eye(len(self.b), dtype=self.b.dtype)
        return self.lower.tril(-1) + eye, self.signs * self.log_d.exp(), self.upper.triu(1) + eye, self.order

    def forward(self, x):
        L, d, U, order = self.factors()
        z = (x[:, order] @ U.T * d) @ L.T + self.b
        return z, self.log_d.sum().expand(len(x))

    def inverse(self, z):
        L, d, U, order = self.factors()
        W = (L * d) @ U
        y = torch.linalg.solve(W, (z - self.b).T).T
        return y[:, torch.argsort(order)], -self.log_d.sum().expand(len(z))
