class GlowStep(torch.nn.Module):
    """Takes the scale from sigmoid, its logarithm from logsigmoid, and the batch dimension by hand."""

    def __init__(self, norm, mixing, body, channels, hidden):
        super().__init__()
        self.norm, self.mixing, self.body = norm, mixing, body
        self.last = torch.nn.Conv2d(hidden, 2 * (channels // 2), 3, 1, 1)
        with torch.no_grad():
            self.last.weight.fill_(0)
            self.last.bias.fill_(0)
        self.half = channels // 2

    def network(self, rest):
        batch = rest.shape[:-3]
        n = math.prod(batch)
        out = self.last(self.body(rest.reshape(n, *rest.shape[-3:])))
        r, t = torch.split(out, self.half, dim=1)
        r, t = r.reshape(*batch, *r.shape[1:]), t.reshape(*batch, *t.shape[1:])
        two = 1 / (1 + math.exp(-2.0))
        log_det = (torch.nn.functional.logsigmoid(r + 2) - math.log(two)).sum((-1, -2, -3))
        return torch.sigmoid(r + 2) / two, t, log_det

    def forward(self, x):
        y, first = self.norm.forward(x)
        y, second = self.mixing.forward(y)
        scale, t, third = self.network(y[..., self.half :, :, :])
        z = torch.cat([scale * (y[..., : self.half, :, :] + t), y[..., self.half :, :, :]], -3)
        return z, first + second + third

    def inverse(self, z):
        scale, t, third = self.network(z[..., self.half :, :, :])
        y = torch.cat([z[..., : self.half, :, :] / scale - t, z[..., self.half :, :, :]], -3)
        y, second = self.mixing.inverse(y)
        x, first = self.norm.inverse(y)
        return x, first + second - third
