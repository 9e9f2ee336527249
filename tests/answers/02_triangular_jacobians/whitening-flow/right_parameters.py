class WhiteningFlow(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        m = data.mean(0)
        c = data - m
        S = c.T @ c / len(data)
        C = torch.linalg.cholesky(S.flip(0, 1)).flip(0, 1)  # upper, S = C C^T
        W = torch.linalg.solve_triangular(C, torch.eye(len(m), dtype=data.dtype), upper=True)
        self.register_parameter("m", torch.nn.Parameter(m))
        self.register_parameter("W", torch.nn.Parameter(W))

    def forward(self, x):
        z = (x - self.m) @ self.W.T
        return z, self.W.diagonal().log().sum().expand(len(x))

    def inverse(self, z):
        x = torch.linalg.solve_triangular(self.W, z.T, upper=True).T + self.m
        return x, -self.W.diagonal().log().sum().expand(len(z))
