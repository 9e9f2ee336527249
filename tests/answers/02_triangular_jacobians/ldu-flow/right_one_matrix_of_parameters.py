class LDUFlow(torch.nn.Module):
    """Both triangles live in one matrix of parameters; the permutation is a matrix of zeros and ones."""

    def __init__(self, matrix):
        super().__init__()
        P1, L1, U1 = torch.linalg.lu(matrix.t())
        d = U1.diag()
        self.register_buffer("P", P1.t().contiguous())
        self.register_buffer("signs", d / d.abs())
        self.triangles = torch.nn.Parameter((torch.diag(1 / d) @ U1).t().tril(-1) + L1.t().triu(1))
        self.trained = torch.nn.ParameterDict({"s": torch.log(torch.abs(d)), "b": torch.zeros(len(d), dtype=d.dtype)})

    def factors(self):
        one = torch.eye(len(self.signs)).to(self.signs)
        d = torch.exp(self.trained["s"]) * self.signs
        return one + torch.tril(self.triangles, -1), d, one + torch.triu(self.triangles, 1), self.P.argmax(1)

    def forward(self, x):
        L, d, U, _ = self.factors()
        weight = L @ torch.diag(d) @ U @ self.P
        return torch.nn.functional.linear(x, weight, self.trained["b"]), self.trained["s"].sum().repeat(x.shape[0])

    def inverse(self, z):
        L, d, U, _ = self.factors()
        y = (z - self.trained["b"]).unsqueeze(-1)
        y = torch.linalg.solve_triangular(L.expand(len(z), *L.shape), y, upper=False)
        y = torch.linalg.solve_triangular(U.expand(len(z), *U.shape), y / d.unsqueeze(-1), upper=True)
        return (self.P.t() @ y).squeeze(-1), -self.trained["s"].sum().repeat(z.shape[0])
