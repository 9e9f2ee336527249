class IAF(torch.nn.Module):
    """One method for both directions, which picks the methods of the layers by name."""

    def __init__(self, layers, features):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.register_buffer("zero", torch.zeros(features), persistent=False)

    def through(self, name, points, context):
        layers = self.layers if name == "forward" else self.layers[::-1]
        args = () if context is None else (context,)
        points, total = getattr(layers[0], name)(points, *args)
        for layer in layers[1:]:
            points, more = getattr(layer, name)(points, *args)
            total = total + more
        return points, total

    def forward(self, x, context=None):
        return self.through("inverse", x, context)

    def inverse(self, u, context=None):
        return self.through("forward", u, context)

    def log_prob(self, x, context=None):
        u, log_det = self.through("inverse", x, context)
        return log_det + torch.distributions.Normal(0.0, 1.0).log_prob(u).sum(-1)

    def rsample_and_log_prob(self, n, context=None):
        shape = (n, self.zero.numel()) if context is None else (n, *context.shape[:-1], self.zero.numel())
        u = torch.normal(torch.zeros(shape, dtype=next(self.parameters()).dtype), 1.0)
        if context is not None:
            context = torch.stack([context] * n)
        x, log_det = self.through("forward", u, context)
        return x, torch.distributions.Normal(0.0, 1.0).log_prob(u).sum(-1) - log_det
