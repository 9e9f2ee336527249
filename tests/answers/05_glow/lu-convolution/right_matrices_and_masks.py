class ShuffledLU(torch.nn.Module):
    """Keeps P as a matrix and masks the triangles."""

    def __init__(self, weight):
        super().__init__()
        if (weight == 0).all(dim=0).any() or (weight == 0).all(dim=1).any():
            raise ValueError("a row or a column of zeros")
        C = len(weight)
        P, L, U = torch.linalg.lu(weight.detach().mT.contiguous())
        below = torch.ones(C, C, dtype=weight.dtype).tril(-1)
        self.register_buffer("below", below)
        self.register_buffer("P", P.mT.clone())
        self.register_buffer("sigma", torch.sign(torch.diagonal(U)).clone())
        self.lower = torch.nn.Parameter(U.mT * below)
        self.upper = torch.nn.Parameter(L.mT * below.mT)
        self.log_diagonal = torch.nn.Parameter(torch.log(torch.abs(torch.diagonal(U))))

    def L(self):
        return self.lower * self.below + torch.diag_embed(self.sigma * torch.exp(self.log_diagonal))

    def U(self):
        return self.upper * self.below.mT + torch.diag_embed(torch.ones_like(self.log_diagonal))

    def weight(self):
        return self.L() @ self.U() @ self.P

    def forward(self, x):
        z = torch.einsum("ij,...jhw->...ihw", self.weight(), x)
        return z, self.pixels(x) * self.log_diagonal.sum()

    def inverse(self, z):
        pixels = z.movedim(-3, 0).flatten(1)
        h = torch.linalg.solve_triangular(self.L(), pixels, upper=False)
        h = torch.linalg.solve_triangular(self.U(), h, upper=True, unitriangular=True)
        x = (self.P.mT @ h).reshape(z.movedim(-3, 0).shape).movedim(0, -3)
        return x, -self.pixels(z) * self.log_diagonal.sum()

    def pixels(self, x):
        return torch.full(x.shape[:-3], float(x.shape[-1] * x.shape[-2]), dtype=x.dtype)
