# mistake: encode and decode are computed inside torch.no_grad().
# hint: Gradients flow through every result; only resample is exempted.
class FactoredFlow(torch.nn.Module):
    """A flow of several levels; after each but the last the second half of the channels is factored out.

    steps: L modules with forward and inverse, on images.
    priors: L - 1 modules from the channels that go on to locations and log-scales of those factored out.
    """

    def __init__(self, steps, priors):
        super().__init__()
        self.steps = torch.nn.ModuleList(steps)
        self.priors = torch.nn.ModuleList(priors)

    def walk(self, x):
        """Return the latents of x and its log-density."""
        latents, total = [], 0
        for step, prior in zip(self.steps, self.priors):
            h, log_det = step(x)
            x, out = h.tensor_split([h.shape[-3] // 2], dim=-3)
            location, log_scale = prior(x).chunk(2, dim=-3)
            u = (out - location) * (-log_scale).exp()
            latents.append(u)
            total = total + log_det + (-u.abs() - log_scale - math.log(2)).flatten(-3).sum(dim=-1)
        u, log_det = self.steps[-1](x)
        normal = -0.5 * u.square() - 0.5 * math.log(2 * math.pi)
        return (*latents, u), total + log_det + normal.flatten(-3).sum(dim=-1)

    @torch.no_grad()
    def encode(self, x):
        """Map images (*batch, C, H, W) to the tuple of their latents, level 0 first."""
        return self.walk(x)[0]

    @torch.no_grad()
    def decode(self, latents):
        """Map latents, a tuple or list of L tensors, back to images."""
        x, _ = self.steps[-1].inverse(latents[-1])
        for level in reversed(range(len(self.priors))):
            location, log_scale = self.priors[level](x).chunk(2, dim=-3)
            out = latents[level] * log_scale.exp() + location
            x, _ = self.steps[level].inverse(torch.cat([x, out], dim=-3))
        return x

    def log_prob(self, x):
        """Return log p(x) (*batch) of images (*batch, C, H, W)."""
        return self.walk(x)[1]

    def resample(self, x, level):
        """Return images (*batch, C, H, W) like x, with the latents of one level drawn anew."""
        latents = list(self.encode(x))
        u = latents[level]
        if level < len(self.priors):
            first, second = torch.empty_like(u).exponential_(), torch.empty_like(u).exponential_()
            latents[level] = first - second  # the difference of two exponential numbers is a Laplace number
        else:
            latents[level] = torch.randn_like(u)
        return self.decode(latents)
