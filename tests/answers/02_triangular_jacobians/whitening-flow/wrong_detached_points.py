# mistake: The points are detached, so no gradient passes through the flow to what comes before it.
# hint: In a stack of flows the points of one are the results of another: let their gradients through.
class WhiteningFlow(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        m = data.mean(0)
        c = data - m
        S = c.T @ c / len(data)
        C = torch.linalg.cholesky(S.flip(0, 1)).flip(0, 1)  # upper, S = C C^T
        W = torch.linalg.solve_triangular(C, torch.eye(len(m), dtype=data.dtype), upper=True)
        self.register_buffer("m", m)
        self.register_buffer("W", W)

    def forward(self, x):
        z = (x.detach() - self.m) @ self.W.T
        return z, self.W.diagonal().log().sum().expand(len(x))

    def inverse(self, z):
        x = torch.linalg.solve_triangular(self.W, z.detach().T, upper=True).T + self.m
        return x, -self.W.diagonal().log().sum().expand(len(z))
