class ZeroConv(torch.nn.Conv2d):
    """A convolution that starts at 0."""

    def reset_parameters(self):
        self.weight.data = torch.zeros_like(self.weight)
        self.bias.data = torch.zeros_like(self.bias)


class GlowStep(torch.nn.Module):
    def __init__(self, norm, mixing, body, channels, hidden):
        super().__init__()
        self.moved = channels // 2
        self.last = ZeroConv(hidden, 2 * self.moved, 3, padding="same")
        self.add_module("norm", norm)
        self.add_module("mixing", mixing)
        self.add_module("body", body)

    def law(self, rest):
        flat = rest
        while flat.dim() > 4:
            flat = flat.flatten(0, 1)
        if flat.dim() == 3:
            flat = flat[None]
        out = self.last(self.body(flat)).reshape(*rest.shape[:-3], -1, *rest.shape[-2:])
        r, t = out.narrow(-3, 0, self.moved), out.narrow(-3, self.moved, self.moved)
        at_zero = torch.nn.functional.logsigmoid(torch.full_like(r, 2.0))
        return torch.nn.functional.logsigmoid(r + 2) - at_zero, t

    def forward(self, x):
        h, a = self.norm(x)
        h, b = self.mixing(h)
        log_scale, t = self.law(h.narrow(-3, self.moved, h.shape[-3] - self.moved))
        pad = (0, 0, 0, 0, 0, h.shape[-3] - self.moved)
        grow = torch.nn.functional.pad
        z = (h + grow(t, pad)) * grow(log_scale, pad).exp()
        return z, a + b + log_scale.flatten(-3).sum(-1)

    def inverse(self, z):
        log_scale, t = self.law(z.narrow(-3, self.moved, z.shape[-3] - self.moved))
        first = z.narrow(-3, 0, self.moved) * torch.exp(-log_scale) - t
        h, b = self.mixing.inverse(torch.cat([first, z.narrow(-3, self.moved, z.shape[-3] - self.moved)], -3))
        x, a = self.norm.inverse(h)
        return x, a + b - log_scale.flatten(-3).sum(-1)
