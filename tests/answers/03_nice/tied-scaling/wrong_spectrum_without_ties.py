# mistake: The spectrum names every parameter once, not every entry of a point.
# hint: All D factors: one for each entry that inverse stretches.
class TiedScaling(torch.nn.Module):
    """The scaling z = x * exp(s) with s = theta broadcast to the shape of a point.

    start: where theta starts, a tensor of a shape that broadcasts to event_shape.
    event_shape: the shape of a point.
    """

    def __init__(self, start, event_shape):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.theta = torch.nn.Parameter(start.clone())

    def forward(self, x):
        """Map x (*batch, *event) to z (*batch, *event); return z and the log-determinants (*batch) of x -> z."""
        s = self.theta.expand(self.event_shape)
        batch = x.shape[: x.dim() - s.dim()]
        return x * s.exp(), s.sum().expand(batch)

    def inverse(self, z):
        """Map z (*batch, *event) to x (*batch, *event); return x and the log-determinants (*batch) of z -> x."""
        s = self.theta.expand(self.event_shape)
        batch = z.shape[: z.dim() - s.dim()]
        return z * (-s).exp(), -s.sum().expand(batch)

    def log_prob(self, x, log_prior):
        """Return log p(x) (*batch) for x (*batch, *event); log_prior gives the log-density of each latent entry."""
        z, log_det = self.forward(x)
        return log_prior(z).reshape(*log_det.shape, -1).sum(dim=-1) + log_det

    def spectrum(self):
        """Return the factors (D,) by which inverse stretches the entries of a point, the largest first."""
        return (-self.theta).exp().flatten().sort(descending=True).values
