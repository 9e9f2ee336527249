class ShuffledLU(torch.nn.Module):
    """Eliminates by hand with pivots looked for in the row, and works with one factor after the other."""

    def __init__(self, weight):
        super().__init__()
        if not (weight.abs().amax(dim=0).min() > 0 and weight.abs().amax(dim=1).min() > 0):
            raise ValueError("the matrix has a row or a column of zeros")
        C, A, order = len(weight), weight.detach().clone(), list(range(len(weight)))
        U = torch.eye(C, dtype=A.dtype)
        for i in range(C):
            j = i + int(A[i, i:].abs().argmax())
            swapped = list(range(C))
            swapped[i], swapped[j] = j, i
            A, order = A[:, swapped], [order[k] for k in swapped]
            U[:i] = U[:i][:, swapped]
            U[i, i + 1 :] = A[i, i + 1 :] / A[i, i]
            A[:, i + 1 :] = A[:, i + 1 :] - torch.outer(A[:, i], U[i, i + 1 :])
            A[i, i + 1 :] = 0
        self.lower, self.upper = torch.nn.Parameter(A), torch.nn.Parameter(U)
        self.log_diagonal = torch.nn.Parameter(A.diagonal().abs().log())
        self.register_buffer("signs", A.diagonal().sgn())
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("back", torch.tensor(order).argsort())

    def product(self, flat):
        shuffled = flat.index_select(-2, self.order)
        h = shuffled + self.upper.triu(1) @ shuffled
        return self.lower.tril(-1) @ h + (self.signs * self.log_diagonal.exp())[:, None] * h

    def weight(self):
        return self.product(torch.eye(len(self.signs), dtype=self.lower.dtype))

    def forward(self, x):
        sums = self.log_diagonal[:, None, None].expand(x.shape).sum(dim=(-3, -2, -1))
        return self.product(x.flatten(-2)).unflatten(-1, x.shape[-2:]), sums

    def inverse(self, z):
        L = self.lower.tril(-1) + torch.diag(self.signs * self.log_diagonal.exp())
        h = torch.linalg.solve_triangular(L, z.flatten(-2), upper=False)
        h = torch.linalg.solve_triangular(self.upper, h, upper=True, unitriangular=True)
        sums = self.log_diagonal[:, None, None].expand(z.shape).sum(dim=(-3, -2, -1))
        return h.index_select(-2, self.back).unflatten(-1, z.shape[-2:]), -sums
