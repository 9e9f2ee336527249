class LDUFlow(torch.nn.Module):
    """Eliminates and substitutes by hand; pivots are looked for among the columns."""

    def __init__(self, matrix):
        super().__init__()
        rest = matrix.clone()
        size = len(rest)
        order = torch.arange(size)
        lower = torch.zeros_like(rest)
        for k in range(size):
            pivot = k + int(rest[k, k:].abs().argmax())
            swap = torch.arange(size)
            swap[k], swap[pivot] = pivot, k
            rest, order = rest[:, swap], order[swap]
            lower[k + 1 :, k] = rest[k + 1 :, k] / rest[k, k]
            rest[k + 1 :] = rest[k + 1 :] - lower[k + 1 :, k, None] * rest[k]
        d = rest.diagonal().clone()
        self.size = size
        self.register_buffer("order", order)
        self.register_buffer("sign", torch.sign(d))
        self.s = torch.nn.Parameter(d.abs().log())
        self.l = torch.nn.Parameter(lower)
        self.u = torch.nn.Parameter(torch.triu(rest / d[:, None], 1))
        self.b = torch.nn.Parameter(torch.zeros_like(d))

    def factors(self):
        one = torch.diag(torch.ones_like(self.s))
        return torch.tril(self.l, -1) + one, self.sign * torch.exp(self.s), torch.triu(self.u, 1) + one, self.order

    def forward(self, x):
        L, d, U, order = self.factors()
        y = x[:, order]
        y = torch.stack([(y * U[i]).sum(1) for i in range(self.size)], dim=1) * d
        y = torch.stack([(y * L[i]).sum(1) for i in range(self.size)], dim=1)
        return y + self.b, torch.stack([self.s.sum()] * len(x))

    def inverse(self, z):
        L, d, U, order = self.factors()
        z = z - self.b
        y = []
        for i in range(self.size):
            known = sum(L[i, j] * y[j] for j in range(i))
            y.append(z[:, i] - known)
        x = [None] * self.size
        for i in reversed(range(self.size)):
            known = sum(U[i, j] * x[j] for j in range(i + 1, self.size))
            x[i] = y[i] / d[i] - known
        place = [None] * self.size
        for i, j in enumerate(order.tolist()):
            place[j] = x[i]
        return torch.stack(place, dim=1), torch.stack([-self.s.sum()] * len(z))
