# mistake: requires_grad is set on the tensor of whoever called.
# hint: x.requires_grad_() changes the tensor that you were given: set it on a tensor of your own.
def log_abs_det(fn, x):
    x.requires_grad_(True)
    y = fn(x).reshape(len(x), -1)
    rows = [torch.autograd.grad(y[:, i].sum(), x, create_graph=True)[0].reshape(len(x), -1) for i in range(y.shape[1])]
    return torch.linalg.slogdet(torch.stack(rows, 1)).logabsdet
