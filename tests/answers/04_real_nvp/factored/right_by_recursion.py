def over_image(values):
    return values.sum(dim=(-3, -2, -1))


class FactoredFlow(torch.nn.Module):
    """Each level is a step, a prior, and the flow of all levels after it."""

    def __init__(self, steps, priors):
        super().__init__()
        self.step = steps[0]
        self.prior = priors[0] if len(priors) > 0 else None
        self.rest = FactoredFlow(steps[1:], priors[1:]) if len(priors) > 0 else None

    def parameters_of(self, on):
        both = self.prior(on)
        half = both.shape[-3] // 2
        return both.narrow(-3, 0, half), both.narrow(-3, half, half)

    def encode(self, x):
        h, _ = self.step.forward(x)
        if self.rest is None:
            return (h,)
        C = h.shape[-3]
        on, out = h.narrow(-3, 0, C // 2), h.narrow(-3, C // 2, C - C // 2)
        location, log_scale = self.parameters_of(on)
        return ((out - location) / log_scale.exp(),) + self.rest.encode(on)

    def decode(self, latents):
        if self.rest is None:
            return self.step.inverse(latents[0])[0]
        on = self.rest.decode(latents[1:])
        location, log_scale = self.parameters_of(on)
        h = torch.cat((on, location + log_scale.exp() * latents[0]), dim=-3)
        return self.step.inverse(h)[0]

    def log_prob(self, x):
        h, log_det = self.step.forward(x)
        if self.rest is None:
            standard = torch.distributions.Normal(torch.zeros_like(h), torch.ones_like(h))
            return log_det + over_image(standard.log_prob(h))
        C = h.shape[-3]
        on, out = h.narrow(-3, 0, C // 2), h.narrow(-3, C // 2, C - C // 2)
        location, log_scale = self.parameters_of(on)
        prior = torch.distributions.Laplace(location, log_scale.exp())
        return log_det + over_image(prior.log_prob(out)) + self.rest.log_prob(on)

    def resample(self, x, level):
        latents = list(self.encode(x))
        old = latents[level]
        kind = torch.distributions.Normal if level == len(latents) - 1 else torch.distributions.Laplace
        latents[level] = kind(torch.zeros_like(old), torch.ones_like(old)).sample()
        return self.decode(tuple(latents))
