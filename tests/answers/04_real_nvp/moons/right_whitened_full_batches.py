class MoonFlow(torch.nn.Module):
    """Whitens the points by a triangular matrix first, then couples; trained on standardized points."""

    def __init__(self, x, layers=4, width=24):
        super().__init__()
        center = x.mean(dim=0)
        units = x.std(dim=0)
        scaled = (x - center) / units
        lower = torch.linalg.cholesky(scaled.T @ scaled / len(x))
        self.register_buffer("center", center)
        self.register_buffer("units", units)
        self.register_buffer("lower", lower)
        nets = []
        for _ in range(layers):
            net = torch.nn.Sequential(torch.nn.Linear(1, width), torch.nn.SiLU(), torch.nn.Linear(width, width), torch.nn.SiLU(), torch.nn.Linear(width, 2))
            nets.append(net)
        self.nets = torch.nn.ModuleList(nets).to(x.dtype)

    def own_log_det(self):
        return -self.units.log().sum() - self.lower.diagonal().log().sum()

    def forward(self, x):
        scaled = (x - self.center) / self.units
        first = scaled[..., 0] / self.lower[0, 0]
        second = (scaled[..., 1] - self.lower[1, 0] * first) / self.lower[1, 1]
        log_det = self.own_log_det().expand(x.shape[:-1])
        for k, net in enumerate(self.nets):
            if k % 2:
                s, t = self.law(net, second)
                first = first * s.exp() + t
            else:
                s, t = self.law(net, first)
                second = second * s.exp() + t
            log_det = log_det + s
        return torch.stack((first, second), -1), log_det

    @staticmethod
    def law(net, known):
        out = net(known.unsqueeze(-1))
        return 2.5 * torch.tanh(out[..., 0] / 2.5), out[..., 1]

    def inverse(self, z):
        first, second = z[..., 0], z[..., 1]
        log_det = -self.own_log_det().expand(z.shape[:-1])
        for k in range(len(self.nets) - 1, -1, -1):
            if k % 2:
                s, t = self.law(self.nets[k], second)
                first = (first - t) * (-s).exp()
            else:
                s, t = self.law(self.nets[k], first)
                second = (second - t) * (-s).exp()
            log_det = log_det - s
        scaled = torch.stack((first * self.lower[0, 0], self.lower[1, 0] * first + self.lower[1, 1] * second), -1)
        return scaled * self.units + self.center, log_det

    def log_prob(self, x):
        z, log_det = self.forward(x)
        return log_det - (z**2 / 2 + 0.5 * math.log(2 * math.pi)).sum(-1)

    def sample(self, n):
        return self.inverse(torch.randn(n, 2, dtype=self.center.dtype))[0].detach()


def fit_moons(x):
    flow = MoonFlow(x, layers=4)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.015)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 350)
    for _ in range(350):
        batch = x[torch.randint(0, x.size(0), (300,))]
        loss = -flow.log_prob(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimizer.step()
        scheduler.step()
    return flow
