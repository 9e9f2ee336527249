class LDUFlow(torch.nn.Module):
    """Looks for the largest entry of every row of what remains, and swaps columns."""

    def __init__(self, matrix):
        super().__init__()
        D = len(matrix)
        A = matrix.detach().clone()
        order = list(range(D))
        L = torch.eye(D, dtype=A.dtype)
        for k in range(D):
            j = k + int(A[k, k:].abs().argmax())
            A[:, [k, j]] = A[:, [j, k]]
            order[k], order[j] = order[j], order[k]
            f = A[k + 1 :, k] / A[k, k]
            L[k + 1 :, k] = f
            A[k + 1 :] -= torch.outer(f, A[k])
            A[k + 1 :, k] = 0
        d = A.diagonal()
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("negative", d < 0)
        rows, cols = torch.tril_indices(D, D, -1)
        values = {
            "s": d.abs().log(),
            "low": L[rows, cols],
            "up": (A / d[:, None]).T[rows, cols],
            "b": torch.zeros(D, dtype=A.dtype),
        }
        self.p = torch.nn.ParameterDict({name: torch.nn.Parameter(value) for name, value in values.items()})

    def factors(self):
        D = len(self.order)
        rows, cols = torch.tril_indices(D, D, -1)
        eye = torch.eye(D, dtype=self.p["s"].dtype)
        L = torch.index_put(eye, (rows, cols), self.p["low"])
        U = torch.index_put(eye, (cols, rows), self.p["up"])
        return L, torch.where(self.negative, -1.0, 1.0) * self.p["s"].exp(), U, self.order

    def forward(self, x):
        L, d, U, o = self.factors()
        h = torch.nn.functional.linear(x[:, o], U) * d
        return torch.nn.functional.linear(h, L, self.p["b"]), self.p["s"].sum().repeat(len(x))

    def inverse(self, z):
        L, d, U, o = self.factors()
        h = torch.linalg.solve_triangular(L.T, z - self.p["b"], upper=True, left=False, unitriangular=True) / d
        h = torch.linalg.solve_triangular(U.T, h, upper=False, left=False, unitriangular=True)
        x = torch.zeros_like(h)
        x[:, o] = h
        return x, -self.p["s"].sum().repeat(len(z))
