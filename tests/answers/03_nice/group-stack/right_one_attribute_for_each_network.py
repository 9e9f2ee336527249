class GroupStack(torch.nn.Module):
    def __init__(self, groups, make_net):
        super().__init__()
        g = torch.tensor(groups) if isinstance(groups, list) else groups.clone()
        self.G = torch.unique(g).numel()
        if self.G < 2:
            raise ValueError("one group")
        self.K = self.G + int((g == 0).sum() > 1)
        self.register_buffer("g", g)
        for k in range(self.K):
            M = (g == k % self.G).sum()
            setattr(self, f"net{k}", make_net(len(g) - M, M))

    def step(self, y, k, sign):
        inside = torch.where(self.g == k % self.G)[0]
        outside = torch.where(self.g != k % self.G)[0]
        return y.index_copy(-1, inside, y[..., inside] + sign * getattr(self, f"net{k}")(y[..., outside]))

    def forward(self, x):
        for k in range(self.K):
            x = self.step(x, k, 1.0)
        return x, torch.zeros_like(x[..., 0])

    def inverse(self, z):
        for k in reversed(range(self.K)):
            z = self.step(z, k, -1.0)
        return z, torch.zeros_like(z[..., 0])
