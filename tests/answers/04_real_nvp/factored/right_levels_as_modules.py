class Level(torch.nn.Module):
    """A step, and what is factored out after it."""

    def __init__(self, step, prior):
        super().__init__()
        self.step, self.prior = step, prior

    def laws(self, on):
        out = self.prior(on)
        return out.tensor_split(2, dim=-3)

    def down(self, x):
        h, log_det = self.step(x)
        C = h.size(-3)
        on, out = torch.split(h, [C // 2, C - C // 2], dim=-3)
        mu, lam = self.laws(on)
        u = (out - mu) / lam.exp()
        log_p = (-u.abs() - lam).sum((-1, -2, -3)) - u[..., :, :, :].shape[-3:].numel() * math.log(2)
        return u, on, log_det + log_p

    def up(self, u, on):
        mu, lam = self.laws(on)
        return self.step.inverse(torch.cat([on, u * lam.exp() + mu], -3))[0]


class FactoredFlow(torch.nn.Module):
    def __init__(self, steps, priors):
        super().__init__()
        self.levels = torch.nn.ModuleList(Level(s, n) for s, n in zip(steps, priors))
        self.last = steps[-1]

    def all(self, x):
        latents, log_p = (), 0
        for level in self.levels:
            u, x, part = level.down(x)
            latents, log_p = (*latents, u), log_p + part
        z, log_det = self.last(x)
        return (*latents, z), log_p + log_det - 0.5 * (z**2 + math.log(2 * math.pi)).sum((-1, -2, -3))

    def encode(self, x):
        latents, _ = self.all(x)
        return latents

    def log_prob(self, x):
        _, log_p = self.all(x)
        return log_p

    def decode(self, latents):
        *us, z = latents
        x, _ = self.last.inverse(z)
        for level, u in zip(list(self.levels)[::-1], us[::-1]):
            x = level.up(u, x)
        return x

    def resample(self, x, level):
        latents = list(self.encode(x))
        shape, dtype = latents[level].shape, x.dtype
        if level == len(latents) - 1:
            latents[level] = torch.randn(shape, dtype=dtype)
        else:
            sign = torch.randint(0, 2, shape) * 2 - 1
            latents[level] = sign.to(dtype) * torch.empty(shape, dtype=dtype).exponential_()
        return self.decode(latents)
