# mistake: W = P L U, as in the chapter.
# hint: Here the shuffle comes first, and the diagonal is in L: decompose the transposed matrix.
class ShuffledLU(torch.nn.Module):
    def __init__(self, weight):
        super().__init__()
        order, lower, upper = torch.linalg.lu(weight)
        diagonal = upper.diagonal()
        if (diagonal == 0).any():
            raise ValueError("expected an invertible matrix")
        self.lower = torch.nn.Parameter(lower.tril(-1))
        self.upper = torch.nn.Parameter(upper.triu(1))
        self.log_diagonal = torch.nn.Parameter(diagonal.abs().log())
        self.register_buffer("signs", diagonal.sign())
        self.register_buffer("order", order)

    def factors(self):
        diagonal = self.signs * self.log_diagonal.exp()
        return self.lower.tril(-1) + torch.ones_like(diagonal).diag(), self.upper.triu(1) + diagonal.diag()

    def log_det(self, x):
        return (x.shape[-1] * x.shape[-2] * self.log_diagonal.sum()).expand(x.shape[:-3])

    def weight(self):
        lower, upper = self.factors()
        return self.order @ lower @ upper

    def forward(self, x):
        return (self.weight() @ x.flatten(-2)).reshape(x.shape), self.log_det(x)

    def inverse(self, z):
        lower, upper = self.factors()
        h = torch.linalg.solve_triangular(lower, self.order.T @ z.flatten(-2), upper=False)
        h = torch.linalg.solve_triangular(upper, h, upper=True)
        return h.reshape(z.shape), -self.log_det(z)
