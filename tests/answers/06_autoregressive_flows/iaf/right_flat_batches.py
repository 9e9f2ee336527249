class IAF(torch.nn.Module):
    """Flattens the points of all rows of a context into one batch."""

    def __init__(self, layers, features):
        super().__init__()
        self.layers = torch.nn.ModuleList()
        for layer in layers:
            self.layers.append(layer)
        self.features = features
        self.constant = features * math.log(2 * math.pi) / 2

    def forward(self, x, context=None):
        log_dets = []
        for k in range(len(self.layers) - 1, -1, -1):
            x, log_det = self.layers[k].inverse(x, context)
            log_dets.append(log_det)
        return x, torch.stack(log_dets).sum(dim=0)

    def inverse(self, u, context=None):
        log_dets = []
        for layer in self.layers:
            u, log_det = layer.forward(u, context)
            log_dets.append(log_det)
        return u, torch.stack(log_dets).sum(dim=0)

    def log_prob(self, x, context=None):
        u, log_det = self.forward(x, context)
        return log_det - (u * u).sum(dim=-1) / 2 - self.constant

    def rsample_and_log_prob(self, n, context=None):
        dtype = self.layers[0].parameters().__next__().dtype
        batch = context.shape[:-1] if context is not None else torch.Size()
        count = n * math.prod(batch)
        noise = torch.empty(count, self.features, dtype=dtype).normal_()
        if context is not None:
            context = context[None].expand(n, *context.shape).reshape(count, -1)
        x, log_det = self.inverse(noise, context)
        log_prob = -noise.pow(2).sum(-1) / 2 - self.constant - log_det
        return x.reshape(n, *batch, self.features), log_prob.reshape(n, *batch)
