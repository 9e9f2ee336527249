class FactoredFlow(torch.nn.Module):
    """log p(x) = log-density of all latents + log-determinant of encode."""

    def __init__(self, steps, priors):
        super().__init__()
        self.f = torch.nn.ModuleList(steps)
        self.n = torch.nn.ModuleList(priors)

    def run(self, x):
        latents, log_dets = [], []
        for level, step in enumerate(self.f):
            x, log_det = step.forward(x)
            log_dets.append(log_det)
            if level + 1 < len(self.f):
                half = x.shape[-3] // 2
                on, out = x[..., :half, :, :], x[..., half:, :, :]
                mu, lam = torch.chunk(self.n[level](on), 2, dim=-3)
                latents.append((out - mu) * torch.exp(-lam))
                log_dets.append(-lam.flatten(-3).sum(-1))
                x = on
        latents.append(x)
        return tuple(latents), sum(log_dets)

    def encode(self, x):
        return self.run(x)[0]

    def decode(self, latents):
        todo = list(latents)
        x = self.f[-1].inverse(todo.pop())[0]
        while todo:
            level = len(todo) - 1
            mu, lam = torch.chunk(self.n[level](x), 2, dim=-3)
            x = self.f[level].inverse(torch.cat([x, mu + todo.pop() * torch.exp(lam)], dim=-3))[0]
        return x

    def log_prob(self, x):
        latents, log_det = self.run(x)
        total = log_det
        for u in latents[:-1]:
            total = total - (u.abs() + math.log(2)).flatten(-3).sum(-1)
        z = latents[-1]
        return total - (z * z + math.log(2 * math.pi)).flatten(-3).sum(-1) / 2

    def resample(self, x, level):
        with torch.no_grad():
            latents = list(self.run(x)[0])
            u = latents[level]
            if level == len(self.n):
                latents[level] = torch.normal(torch.zeros_like(u), 1.0)
            else:
                p = torch.rand_like(u) - 0.5
                latents[level] = -torch.sign(p) * torch.log1p(-2 * p.abs().clamp(max=0.5 - 1e-9))
            return self.decode(latents)
