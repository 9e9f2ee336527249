class LDUFlow(torch.nn.Module):
    """Keeps the D(D-1)/2 trained entries of each triangle in a vector."""

    def __init__(self, matrix):
        super().__init__()
        size = matrix.shape[0]
        packed, pivots = torch.linalg.lu_factor(matrix.mT.contiguous())
        order = list(range(size))
        for row, pivot in enumerate((pivots - 1).tolist()):
            order[row], order[pivot] = order[pivot], order[row]
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("below", torch.tril_indices(size, size, -1))
        diagonal = packed.diagonal().clone()
        self.register_buffer("negative", diagonal < 0)
        rows, columns = self.below
        self.lower_entries = torch.nn.Parameter(packed.T[rows, columns] / diagonal[columns])
        self.upper_entries = torch.nn.Parameter(packed[rows, columns].clone())
        self.log_scale = torch.nn.Parameter(diagonal.abs().log())
        self.shift = torch.nn.Parameter(torch.zeros_like(diagonal))

    def _unit_lower(self, entries):
        size = len(self.shift)
        return torch.eye(size, dtype=entries.dtype).index_put((self.below[0], self.below[1]), entries)

    def factors(self):
        scale = self.log_scale.exp()
        d = torch.where(self.negative, -scale, scale)
        return self._unit_lower(self.lower_entries), d, self._unit_lower(self.upper_entries).mT, self.order

    def forward(self, x):
        L, d, U, order = self.factors()
        z = torch.einsum("ij,j,jk,nk->ni", L, d, U, x.index_select(1, order)) + self.shift
        return z, x.new_ones(len(x)) * self.log_scale.sum()

    def inverse(self, z):
        L, d, U, order = self.factors()
        rows = torch.linalg.solve_triangular(L.mT, z - self.shift, upper=True, left=False, unitriangular=True)
        rows = torch.linalg.solve_triangular(U.mT, rows / d, upper=False, left=False, unitriangular=True)
        x = torch.zeros_like(rows).index_copy(1, order, rows)
        return x, -(z.new_ones(len(z)) * self.log_scale.sum())
