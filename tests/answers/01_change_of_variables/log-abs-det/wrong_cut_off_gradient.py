# mistake: The Jacobian is computed without create_graph, so the result cannot be differentiated.
# hint: torch.autograd.grad forgets how it computed a gradient unless it is told to remember.
def log_abs_det(fn, x):
    v = x.detach().requires_grad_(True)
    out = fn(v).reshape(len(x), -1)
    rows = [torch.autograd.grad(column.sum(), v, retain_graph=True)[0].reshape(len(x), -1) for column in out.T]
    return torch.linalg.slogdet(torch.stack(rows, dim=1)).logabsdet
