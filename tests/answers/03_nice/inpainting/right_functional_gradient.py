def inpainting_step(log_prob, x, observed, step):
    x = x.detach()
    gradient = torch.func.grad(lambda images: log_prob(images).sum())(x).detach().clone()
    gradient[observed] = 0.0
    dims = list(range(1, x.dim()))
    c = torch.amax(gradient.abs(), dims, keepdim=True)
    new = x + torch.nan_to_num(gradient / c, nan=0.0) * step
    new = torch.minimum(torch.maximum(new, torch.zeros_like(new)), torch.ones_like(new))
    new[observed] = x[observed]
    return new
