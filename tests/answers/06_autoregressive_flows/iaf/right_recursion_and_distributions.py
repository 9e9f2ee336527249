class IAF(torch.nn.Module):
    """By recursion over the layers; the noise is a torch distribution."""

    def __init__(self, layers, features):
        super().__init__()
        self.layers = torch.nn.ModuleList(list(layers))
        self.D = features

    def walk(self, point, context, layers, fast):
        if not layers:
            return point, point.new_zeros(point.shape[:-1])
        layer = layers[0]
        after, log_det = layer.forward(point, context) if fast else layer.inverse(point, context)
        end, rest = self.walk(after, context, layers[1:], fast)
        return end, log_det + rest

    def forward(self, x, context=None):
        return self.walk(x, context, list(self.layers)[::-1], False)

    def inverse(self, u, context=None):
        return self.walk(u, context, list(self.layers), True)

    def base(self, like):
        zero = like.new_zeros(self.D)
        return torch.distributions.Independent(torch.distributions.Normal(zero, zero + 1), 1)

    def log_prob(self, x, context=None):
        u, log_det = self(x, context)
        return self.base(x).log_prob(u) + log_det

    def rsample_and_log_prob(self, n, context=None):
        like = next(iter(self.layers.parameters()))
        if context is None:
            u = self.base(like).sample((n,))
        else:
            u = self.base(like).sample((n, *context.shape[:-1]))
            context = context.unsqueeze(0).repeat(n, *[1] * context.dim())
        x, log_det = self.inverse(u, context)
        return x, self.base(like).log_prob(u) - log_det
