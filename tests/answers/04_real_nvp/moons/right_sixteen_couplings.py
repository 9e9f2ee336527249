class MoonFlow(torch.nn.Module):
    def __init__(self, x, couplings=16, width=64):
        super().__init__()
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("std", x.std(0))
        self.nets = torch.nn.ModuleList(self.net(width) for _ in range(couplings))
        self.to(x.dtype)

    @staticmethod
    def net(width):
        return torch.nn.Sequential(
            torch.nn.Linear(1, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 2)
        )

    def terms(self, net, known):
        s, t = net(known[..., None]).unbind(-1)
        return 3.0 * torch.tanh(s / 3.0), t

    def forward(self, x):
        a, b = ((x - self.mean) / self.std).unbind(-1)
        log_det = -self.std.log().sum()
        for net in self.nets:
            s, t = self.terms(net, a)
            a, b = b * s.exp() + t, a
            log_det = log_det + s
        return torch.stack([a, b], -1), log_det

    def inverse(self, z):
        a, b = z.unbind(-1)
        log_det = self.std.log().sum()
        for net in reversed(self.nets):
            s, t = self.terms(net, b)
            a, b = b, (a - t) * (-s).exp()
            log_det = log_det - s
        return torch.stack([a, b], -1) * self.std + self.mean, log_det

    def log_prob(self, x):
        z, log_det = self(x)
        return -0.5 * (z**2).sum(-1) - math.log(2 * math.pi) + log_det

    def sample(self, n):
        with torch.no_grad():
            return self.inverse(torch.randn(n, 2, dtype=self.mean.dtype))[0]


def fit_moons(x):
    flow = MoonFlow(x, couplings=6, width=32)  # a smaller one of its kind learns faster
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.006)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        loss = -flow.log_prob(x[torch.randint(len(x), (256,))]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    return flow
