class PlaneCoupling(torch.nn.Module):
    """An affine coupling with a mask of zeros and ones."""

    def __init__(self, keep, width):
        super().__init__()
        mask = torch.zeros(2)
        mask[keep] = 1.0
        self.register_buffer("mask", mask)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(2, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU(), torch.nn.Linear(width, 4)
        )
        torch.nn.init.zeros_(self.body[-1].weight)
        torch.nn.init.zeros_(self.body[-1].bias)

    def st(self, y):
        s, t = self.body(y * self.mask).chunk(2, dim=-1)
        return 1.5 * torch.nn.functional.softsign(s) * (1 - self.mask), t * (1 - self.mask)

    def forward(self, x):
        s, t = self.st(x)
        return x * s.exp() + t, s.sum(-1)

    def inverse(self, z):
        s, t = self.st(z)
        return (z - t) * (-s).exp(), -s.sum(-1)


class MoonFlow(torch.nn.Module):
    def __init__(self, x):
        super().__init__()
        self.couplings = torch.nn.ModuleList([PlaneCoupling(k % 2, 32) for k in range(5)])
        self.register_buffer("mean", x.mean(0).detach().clone())
        self.register_buffer("std", x.std(0).detach().clone())
        self.to(x.dtype)

    def forward(self, x):
        z = (x - self.mean) / self.std
        total = torch.zeros(x.shape[:-1], dtype=x.dtype) - torch.log(self.std).sum()
        for coupling in self.couplings:
            z, log_det = coupling(z)
            total = total + log_det
        return z, total

    def inverse(self, z):
        total = torch.zeros(z.shape[:-1], dtype=z.dtype) + torch.log(self.std).sum()
        for coupling in reversed(self.couplings):
            z, log_det = coupling.inverse(z)
            total = total + log_det
        return z * self.std + self.mean, total

    def log_prob(self, x):
        z, log_det = self(x)
        return log_det + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)

    def sample(self, n):
        with torch.no_grad():
            x, _ = self.inverse(torch.randn(n, 2, dtype=self.mean.dtype))
        return x


def fit_moons(x):
    flow = MoonFlow(x)
    adam = torch.optim.Adam(flow.parameters(), lr=0.01)
    steps = 300
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * step / steps))
        start = (step * 256) % (len(x) - 256)
        if start < 256:
            x = x[torch.randperm(len(x))]
        adam.zero_grad()
        (-flow.log_prob(x[start : start + 256]).mean()).backward()
        adam.step()
    return flow.eval()
