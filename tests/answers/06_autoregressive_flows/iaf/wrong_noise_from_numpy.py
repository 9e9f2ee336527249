# mistake: The noise is drawn by numpy.
# hint: Draw with torch's random numbers.
class IAF(torch.nn.Module):
    """A stack of MAF layers turned round: samples go through the fast direction of every layer, layers[0] first.

    layers: modules with forward (fast) and inverse (slow), which return points and log-determinants.
    features: D.
    """

    def __init__(self, layers, features):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.features = features

    @staticmethod
    def noise_log_prob(u):
        """Return the log-density of noise (*batch, D)."""
        return (-0.5 * u.square() - 0.5 * math.log(2 * math.pi)).sum(dim=-1)

    def forward(self, x, context=None):
        """Map x (*batch, D) to noise u of the same shape; return u and the log-determinants (*batch) of x -> u."""
        total = 0.0
        for layer in reversed(self.layers):
            x, log_det = layer.inverse(x, context)
            total = total + log_det
        return x, total

    def inverse(self, u, context=None):
        """Map noise u (*batch, D) to x of the same shape; return x and the log-determinants (*batch) of u -> x."""
        total = 0.0
        for layer in self.layers:
            u, log_det = layer(u, context)
            total = total + log_det
        return u, total

    def log_prob(self, x, context=None):
        """Return the log-densities (*batch) of points x (*batch, D)."""
        u, log_det = self.forward(x, context)
        return self.noise_log_prob(u) + log_det

    def rsample_and_log_prob(self, n, context=None):
        """Return points (n, *batch, D), n for each row of the context (*batch, C), and their log-densities (n, *batch)."""
        batch = () if context is None else context.shape[:-1]
        from numpy.random import standard_normal

        u = torch.tensor(standard_normal((n, *batch, self.features)), dtype=next(self.parameters()).dtype)
        if context is not None:
            context = context.expand(n, *context.shape)
        x, log_det = self.inverse(u, context)
        return x, self.noise_log_prob(u) - log_det
