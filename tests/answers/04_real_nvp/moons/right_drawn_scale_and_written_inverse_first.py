class MoonFlow(torch.nn.Module):
    """The couplings are written from the latent's side; forward divides."""

    def __init__(self, x):
        super().__init__()
        low, high = x.amin(0), x.amax(0)
        self.register_buffer("middle", (low + high) / 2)
        self.register_buffer("reach", (high - low) / 4)
        make = lambda: torch.nn.Sequential(  # noqa: E731
            torch.nn.Linear(1, 40), torch.nn.ReLU(), torch.nn.Linear(40, 40), torch.nn.ReLU(), torch.nn.Linear(40, 2)
        )
        self.nets = torch.nn.ModuleList([make() for _ in range(5)])
        self.to(x.dtype)

    def forward(self, x):
        parts = list(((x - self.middle) / self.reach).unbind(-1))
        log_det = -torch.log(self.reach.prod()) + torch.zeros_like(parts[0])
        for k, net in enumerate(self.nets):
            a, t = net(parts[k % 2][..., None]).unbind(-1)
            a = torch.clamp(a, -2, 2)
            parts[1 - k % 2] = (parts[1 - k % 2] - t) * torch.exp(-a)
            log_det = log_det - a
        return torch.stack(parts, dim=-1), log_det

    def inverse(self, z):
        parts = list(z.unbind(-1))
        log_det = torch.log(self.reach.prod()) + torch.zeros_like(parts[0])
        for k in reversed(range(len(self.nets))):
            a, t = self.nets[k](parts[k % 2][..., None]).unbind(-1)
            a = torch.clamp(a, -2, 2)
            parts[1 - k % 2] = parts[1 - k % 2] * torch.exp(a) + t
            log_det = log_det + a
        return torch.stack(parts, dim=-1) * self.reach + self.middle, log_det

    def log_prob(self, x):
        z, log_det = self.forward(x)
        base = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=x.dtype), torch.eye(2, dtype=x.dtype))
        return base.log_prob(z) + log_det

    @torch.no_grad()
    def sample(self, n):
        return self.inverse(torch.randn((n, 2), dtype=self.reach.dtype))[0]


def fit_moons(x):
    flow = MoonFlow(x)
    points = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=200, shuffle=True)
    optimizer = torch.optim.Adam(flow.parameters(), lr=0.005)
    for epoch in range(20):
        if epoch == 13:
            for group in optimizer.param_groups:
                group["lr"] = 0.001
        for (batch,) in points:
            optimizer.zero_grad()
            loss = -flow.log_prob(batch).sum() / len(batch)
            loss.backward()
            optimizer.step()
    return flow
