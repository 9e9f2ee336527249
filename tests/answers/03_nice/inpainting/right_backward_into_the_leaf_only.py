@torch.enable_grad()
def slopes(log_prob, x):
    leaf = x.detach().clone()
    leaf.requires_grad = True
    values = log_prob(leaf)
    values.backward(gradient=torch.ones_like(values), inputs=[leaf])
    return leaf.grad


@torch.no_grad()
def inpainting_step(log_prob, x, observed, step):
    g = slopes(log_prob, x)
    g = torch.where(observed, torch.zeros_like(g), g).reshape(len(x), -1)
    c, _ = g.abs().max(dim=1, keepdim=True)
    c[c == 0] = 1
    new = x + step * (g / c).reshape(x.shape)
    return torch.where(observed, x, new.clamp(min=0, max=1))
