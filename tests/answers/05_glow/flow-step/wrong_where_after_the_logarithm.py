# mistake: The logarithm of the sigmoid is replaced by r + 2 where r is far below 0, by torch.where.
# hint: The branch that where does not take still makes NaN in the gradient: logsigmoid has none.
class GlowStep(torch.nn.Module):
    """norm, then mixing, then the coupling (h + t) * sigmoid(r + 2) / sigmoid(2) of the first C // 2 channels.

    norm, mixing: flows on images (*batch, C, H, W), with forward and inverse.
    body: a network from images (n, C - C // 2, H, W) to (n, hidden, H, W).
    channels, hidden: C and the number of channels that body returns.
    """

    def __init__(self, norm, mixing, body, channels, hidden):
        super().__init__()
        self.norm, self.mixing, self.body = norm, mixing, body
        self.moved = channels // 2
        self.last = torch.nn.Conv2d(hidden, 2 * self.moved, 3, padding=1)
        torch.nn.init.zeros_(self.last.weight)
        torch.nn.init.zeros_(self.last.bias)

    def scale_and_shift(self, rest):
        """Return the log-scale and the shift of what is moved, and the sum of the log-scales of each image."""
        out = self.last(self.body(rest.reshape(-1, *rest.shape[-3:])))
        r, t = out.reshape(*rest.shape[:-3], *out.shape[1:]).chunk(2, dim=-3)
        log_scale = torch.where(r > -50, torch.sigmoid(r + 2).log(), r + 2) + math.log1p(math.exp(-2))
        return log_scale, t, log_scale.flatten(-3).sum(dim=-1)

    def forward(self, x):
        """Map x (*batch, C, H, W) to z of the same shape; return z and the log-determinants (*batch) of x -> z."""
        h, of_norm = self.norm(x)
        h, of_mixing = self.mixing(h)
        first, rest = h.tensor_split([self.moved], dim=-3)
        log_scale, t, of_coupling = self.scale_and_shift(rest)
        z = torch.cat([(first + t) * log_scale.exp(), rest], dim=-3)
        return z, of_norm + of_mixing + of_coupling

    def inverse(self, z):
        """Map z (*batch, C, H, W) to x of the same shape; return x and the log-determinants (*batch) of z -> x."""
        first, rest = z.tensor_split([self.moved], dim=-3)
        log_scale, t, of_coupling = self.scale_and_shift(rest)
        h = torch.cat([first * (-log_scale).exp() - t, rest], dim=-3)
        h, of_mixing = self.mixing.inverse(h)
        x, of_norm = self.norm.inverse(h)
        return x, of_norm + of_mixing - of_coupling
