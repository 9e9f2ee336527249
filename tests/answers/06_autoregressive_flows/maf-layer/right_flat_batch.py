class MAFLayer(torch.nn.Module):
    """Flattens the batch; adds the coordinates one by one to a matrix."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, context=None):
        mean, log_var = self.net(x) if context is None else self.net(x, context=context)
        return (x - mean).mul((log_var / -2).exp()), log_var.sum(-1) / -2

    def inverse(self, z, context=None):
        batch, D = z.shape[:-1], z.shape[-1]
        z = z.reshape(-1, D)
        if context is not None:
            context = context.reshape(len(z), -1)
        x, total = torch.zeros(len(z), D, dtype=z.dtype), torch.zeros(len(z), dtype=z.dtype)
        for i in self.net.order:
            mean, log_var = self.net(x, context)
            unit = torch.eye(D, dtype=z.dtype)[i]
            x = x + torch.outer(mean[:, i] + torch.exp(log_var[:, i] / 2) * z[:, i], unit)
            total = total + log_var[:, i] / 2
        return x.reshape(*batch, D), total.reshape(batch)
