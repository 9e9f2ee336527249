class Shift(torch.nn.Module):
    def __init__(self, moved, make_net):
        super().__init__()
        self.register_buffer("moved", moved.nonzero()[:, 0], persistent=False)
        self.register_buffer("read", (~moved).nonzero()[:, 0], persistent=False)
        self.net = make_net(len(self.read), len(self.moved))

    def forward(self, x, sign):
        kept, rest = x[..., self.read], x[..., self.moved]
        order = torch.cat([self.read, self.moved]).argsort()
        return torch.cat([kept, rest + sign * self.net(kept)], dim=-1)[..., order]


class GroupStack(torch.nn.Module):
    def __init__(self, groups, make_net):
        super().__init__()
        groups = torch.tensor([int(g) for g in groups])
        count = len(set(groups.tolist()))
        if count == 1:
            raise ValueError("expected more than one group")
        rounds = list(range(count)) + [0] * int((groups == 0).sum() > 1)
        self.steps = torch.nn.Sequential(*(Shift(groups == group, make_net) for group in rounds))

    def forward(self, x):
        z = x
        for step in self.steps:
            z = step(z, 1)
        return z, torch.zeros(x.shape[:-1], dtype=x.dtype)

    def inverse(self, z):
        x = z
        for k in range(len(self.steps) - 1, -1, -1):
            x = self.steps[k](x, -1)
        return x, torch.zeros(z.shape[:-1], dtype=z.dtype)
