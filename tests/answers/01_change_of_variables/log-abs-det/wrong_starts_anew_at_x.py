# mistake: Points that were computed from others are detached, so the gradient ends at x.
# hint: x need not be a leaf: if it requires a gradient, work with x itself or with a view of it.
def log_abs_det(fn, x):
    if not (x.is_leaf and x.requires_grad):
        x = x.detach().clone().requires_grad_(True)
    y = fn(x).reshape(len(x), -1)
    rows = [torch.autograd.grad(y[:, i].sum(), x, create_graph=True)[0].reshape(len(x), -1) for i in range(y.shape[1])]
    return torch.linalg.slogdet(torch.stack(rows, 1)).logabsdet
