class GroupStack(torch.nn.Module):
    """Keeps a point as a list of columns."""

    def __init__(self, groups, make_net):
        super().__init__()
        self.groups = [int(g) for g in groups]
        self.G = max(self.groups) + 1
        if self.G == 1:
            raise ValueError("a single group")
        sizes = [self.groups.count(g) for g in range(self.G)]
        self.K = self.G + min(1, sizes[0] - 1)
        for k in range(self.K):
            self.add_module(f"net{k}", make_net(len(self.groups) - sizes[k % self.G], sizes[k % self.G]))

    def _run(self, points, order, sign):
        columns = list(points.unbind(-1))
        for k in order:
            others = [c for c, g in zip(columns, self.groups) if g != k % self.G]
            shifts = list(getattr(self, f"net{k}")(torch.stack(others, -1)).unbind(-1))
            columns = [c + sign * shifts.pop(0) if g == k % self.G else c for c, g in zip(columns, self.groups)]
        return torch.stack(columns, -1), 0.0 * points.detach()[..., 0]

    def forward(self, x):
        return self._run(x, range(self.K), 1)

    def inverse(self, z):
        return self._run(z, range(self.K)[::-1], -1)
