# mistake: A scale of shape (C,) is given to the first dimension of a point.
# hint: torch lines shapes up from the right: (W,) belongs to the last dimension.
class TiedScaling(torch.nn.Module):
    """The scaling z = x * exp(s) with s = theta broadcast to the shape of a point.

    start: where theta starts, a tensor of a shape that broadcasts to event_shape.
    event_shape: the shape of a point.
    """

    def __init__(self, start, event_shape):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.left = start.dim() == 1 and len(start) == self.event_shape[0]
        self.theta = torch.nn.Parameter(start.clone())

    def _scales(self):
        theta = self.theta.reshape(-1, *[1] * (len(self.event_shape) - 1)) if self.left else self.theta
        return theta.expand(self.event_shape)

    def forward(self, x):
        """Map x (*batch, *event) to z (*batch, *event); return z and the log-determinants (*batch) of x -> z."""
        s = self._scales()
        batch = x.shape[: x.dim() - s.dim()]
        return x * s.exp(), s.sum().expand(batch)

    def inverse(self, z):
        """Map z (*batch, *event) to x (*batch, *event); return x and the log-determinants (*batch) of z -> x."""
        s = self._scales()
        batch = z.shape[: z.dim() - s.dim()]
        return z * (-s).exp(), -s.sum().expand(batch)

    def log_prob(self, x, log_prior):
        """Return log p(x) (*batch) for x (*batch, *event); log_prior gives the log-density of each latent entry."""
        z, log_det = self.forward(x)
        return log_prior(z).reshape(*log_det.shape, -1).sum(dim=-1) + log_det

    def spectrum(self):
        """Return the factors (D,) by which inverse stretches the entries of a point, the largest first."""
        return (-self.theta).exp().expand(self.event_shape).flatten().sort(descending=True).values
