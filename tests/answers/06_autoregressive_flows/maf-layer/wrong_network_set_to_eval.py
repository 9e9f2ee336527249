# mistake: The network is switched to eval mode.
# hint: Leave the module you are given in its mode.
class MAFLayer(torch.nn.Module):
    """x_i = mu_i + exp(lambda_i / 2) z_i, where (mu, lambda) = net(x, context) and entry i depends on what comes before i.

    net: a module with an order; net(x, context) returns the pair (mu, log_variance), each (*batch, D).
    """

    def __init__(self, net):
        super().__init__()
        self.net = net.eval()

    def forward(self, x, context=None):
        """Map x (*batch, D) to z of the same shape; return z and the log-determinants (*batch) of x -> z."""
        mu, log_variance = self.net(x, context)
        return (x - mu) * (-0.5 * log_variance).exp(), -0.5 * log_variance.sum(dim=-1)

    def inverse(self, z, context=None):
        """Map z (*batch, D) to x of the same shape; return x and the log-determinants (*batch) of z -> x."""
        columns = [torch.zeros_like(z[..., 0])] * z.shape[-1]
        log_det = torch.zeros_like(z[..., 0])
        for i in self.net.order:
            mu, log_variance = self.net(torch.stack(columns, dim=-1), context)
            columns[i] = mu[..., i] + (0.5 * log_variance[..., i]).exp() * z[..., i]
            log_det = log_det + 0.5 * log_variance[..., i]
        return torch.stack(columns, dim=-1), log_det
