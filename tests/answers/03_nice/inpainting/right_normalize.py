def inpainting_step(log_prob, x, observed, step):
    leaf = x.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        (g,) = torch.autograd.grad(log_prob(leaf), leaf, grad_outputs=torch.ones(len(x), dtype=x.dtype))
    g = torch.where(observed, torch.zeros_like(g), g).flatten(1)
    g = torch.nn.functional.normalize(g, p=float("inf"), dim=1, eps=1e-37).reshape(x.shape)
    new = x.detach().clone()
    new[~observed] = torch.clip(x.detach() + step * g, 0.0, 1.0)[~observed]
    return new
