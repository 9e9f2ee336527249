# mistake: A small constant is added to the spread, as a guard against a division by 0.
# hint: A constant that is added to the spread has units, too: leave it out.
class MoonFlow(torch.nn.Module):
    """A flow for points of the plane in the units of the training points x (N, 2); the latent is standard normal."""

    def __init__(self, x):
        super().__init__()
        self.register_buffer("center", x.mean(dim=0))
        self.register_buffer("spread", x.std(dim=0) + 1e-3)
        self.nets = torch.nn.ModuleList(self.make_net().to(x.dtype) for _ in range(6))

    @staticmethod
    def make_net():
        """Return a network from one kept coordinate to the raw log-scale and the shift of the other one."""
        middle = (torch.nn.Linear(32, 32), torch.nn.ReLU())
        return torch.nn.Sequential(torch.nn.Linear(1, 32), torch.nn.ReLU(), *middle, torch.nn.Linear(32, 2))

    @staticmethod
    def scale_and_shift(net, kept):
        """Return the log-scale, which lies between -2 and 2, and the shift."""
        raw, shift = net(kept[..., None]).unbind(dim=-1)
        return 2 * torch.tanh(raw), shift

    def forward(self, x):
        """Map x (*batch, 2) to z (*batch, 2); return z and the log-determinants (*batch) of x -> z."""
        kept, moved = ((x - self.center) / self.spread).unbind(dim=-1)
        log_det = -self.spread.log().sum()
        for net in self.nets:
            a, shift = self.scale_and_shift(net, kept)
            kept, moved = moved * a.exp() + shift, kept  # what was moved is kept by the next coupling
            log_det = log_det + a
        return torch.stack([kept, moved], dim=-1), log_det

    def inverse(self, z):
        """Map z (*batch, 2) to x (*batch, 2); return x and the log-determinants (*batch) of z -> x."""
        kept, moved = z.unbind(dim=-1)
        log_det = self.spread.log().sum()
        for net in reversed(self.nets):
            a, shift = self.scale_and_shift(net, moved)
            kept, moved = moved, (kept - shift) * (-a).exp()
            log_det = log_det - a
        return torch.stack([kept, moved], dim=-1) * self.spread + self.center, log_det

    def log_prob(self, x):
        """Return the log-density (*batch) of the points x (*batch, 2)."""
        z, log_det = self.forward(x)
        return log_det - 0.5 * z.square().sum(dim=-1) - math.log(2 * math.pi)

    def sample(self, n):
        """Return n points (n, 2) of the model."""
        return self.inverse(torch.randn(n, 2, dtype=self.center.dtype))[0]


def fit_moons(x):
    """Return a MoonFlow that is trained on the points x (N, 2)."""
    flow, steps = MoonFlow(x), 300
    optimizer = torch.optim.Adam(flow.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(steps):
        loss = -flow.log_prob(x.index_select(0, torch.randint(len(x), (256,)))).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return flow
