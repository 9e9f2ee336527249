class IAF(torch.nn.Module):
    """The noise is made of uniform numbers; log-densities are added up coordinate by coordinate."""

    def __init__(self, layers, features):
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self.features = features

    def forward(self, x, context=None):
        total = []
        for layer in reversed(self.layers):
            x, log_det = layer.inverse(x, context)
            total.append(log_det)
        return x, sum(total)

    def inverse(self, u, context=None):
        total = []
        for layer in self.layers:
            u, log_det = layer.forward(u, context=context)
            total.append(log_det)
        return u, sum(total)

    def log_normal(self, u):
        return sum(-(u[..., i] ** 2) / 2 - math.log(math.sqrt(2 * math.pi)) for i in range(self.features))

    def log_prob(self, x, context=None):
        u, log_det = self.forward(x, context)
        return self.log_normal(u) + log_det

    def rsample_and_log_prob(self, n, context=None):
        dtype = next(self.parameters()).dtype
        shape = (n, *(() if context is None else context.shape[:-1]), self.features)
        radius = (-2 * torch.log1p(-torch.rand(shape, dtype=dtype))).sqrt()
        u = radius * torch.cos(2 * math.pi * torch.rand(shape, dtype=dtype))
        if context is not None:
            context = context + torch.zeros(*shape[:-1], context.shape[-1], dtype=dtype)
        x, log_det = self.inverse(u, context)
        return x, self.log_normal(u) - log_det
