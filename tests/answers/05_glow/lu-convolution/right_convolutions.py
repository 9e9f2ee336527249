class ShuffledLU(torch.nn.Module):
    """Writes both directions as conv2d; the inverse matrix comes from two triangular systems."""

    def __init__(self, weight):
        super().__init__()
        p, l, u = torch.linalg.lu(torch.transpose(weight, 0, 1))
        d = torch.diag(u)
        if torch.any(d == 0):
            raise ValueError("singular")
        self.lower = torch.nn.Parameter(torch.transpose(u, 0, 1).clone())
        self.upper = torch.nn.Parameter(torch.transpose(l, 0, 1).clone())
        self.log_diagonal = torch.nn.Parameter(d.abs().log())
        self.register_buffer("perm", torch.transpose(p, 0, 1).clone())
        self.register_buffer("negative", d < 0)

    def factors(self):
        d = torch.exp(self.log_diagonal)
        d = torch.where(self.negative, -d, d)
        one = torch.eye(len(d), dtype=d.dtype)
        return torch.tril(self.lower, -1) + torch.diag(d), torch.triu(self.upper, 1) + one

    def weight(self):
        l, u = self.factors()
        return l.mm(u).mm(self.perm)

    def convolve(self, w, x, sign):
        images = x.reshape(-1, *x.shape[-3:])
        out = torch.nn.functional.conv2d(images, w[..., None, None])
        h, w = x.shape[-2:]
        return out.reshape(x.shape), (sign * h * w * self.log_diagonal.sum()).repeat(len(images)).reshape(x.shape[:-3])

    def forward(self, x):
        return self.convolve(self.weight(), x, 1)

    def inverse(self, z):
        l, u = self.factors()
        solve = torch.linalg.solve_triangular
        return self.convolve(self.perm.t().mm(solve(u, solve(l, torch.eye(len(l), dtype=z.dtype), upper=False), upper=True)), z, -1)
