# mistake: The points are detached, so no gradient passes through the flow to what comes before it.
# hint: In a stack of flows the points of one are the results of another: let their gradients through.
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
        x = x.detach()
        L, d, U, order = self.factors()
        z = (x[:, order] @ U.T * d) @ L.T + self.b
        return z, self.log_d.sum().expand(len(x))

    def inverse(self, z):
        z = z.detach()
        L, d, U, order = self.factors()
        y = (z - self.b).T
        y = torch.linalg.solve_triangular(L, y, upper=False, unitriangular=True)
        y = y / d[:, None]
        y = torch.linalg.solve_triangular(U, y, upper=True, unitriangular=True)
        return y.T[:, torch.argsort(order)], -self.log_d.sum().expand(len(z))
