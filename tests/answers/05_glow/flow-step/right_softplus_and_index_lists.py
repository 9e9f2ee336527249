class GlowStep(torch.nn.Module):
    """The logarithm of the scale by softplus; the batch is flattened around the body."""

    def __init__(self, norm, mixing, body, channels, hidden):
        super().__init__()
        self.norm = norm
        self.mixing = mixing
        self.body = body
        self.channels = channels
        self.last = torch.nn.Conv2d(hidden, channels // 2 * 2, kernel_size=(3, 3), padding=(1, 1))
        for parameter in self.last.parameters():
            parameter.data.zero_()

    def couple(self, h, direction):
        count = self.channels // 2
        read = h[..., count:, :, :]
        features = self.body(read.flatten(0, -4) if read.dim() > 4 else read.view(-1, *read.shape[-3:]))
        out = self.last(features).view(*h.shape[:-3], 2 * count, *h.shape[-2:])
        raw, shift = out[..., :count, :, :], out[..., count:, :, :]
        softplus = torch.nn.functional.softplus
        a = -softplus(-(raw + 2), threshold=50) + math.log(1 + math.exp(-2))
        moved = h[..., :count, :, :]
        moved = (moved + shift) * a.exp() if direction > 0 else moved / a.exp() - shift
        return torch.cat((moved, read), -3), direction * a.sum(dim=(-3, -2, -1))

    def forward(self, x):
        total = 0
        for part in (self.norm, self.mixing):
            x, log_det = part(x)
            total = total + log_det
        z, log_det = self.couple(x, 1)
        return z, total + log_det

    def inverse(self, z):
        z, total = self.couple(z, -1)
        for part in (self.mixing, self.norm):
            z, log_det = part.inverse(z)
            total = total + log_det
        return z, total
