# mistake: A Jacobian is called singular when it is only nearly so.
# hint: A map may shrink one direction by 1e-20 and still be invertible: its log-determinant is a number.
def log_abs_det(fn, x):
    leaf = x if x.requires_grad else x.detach().clone().requires_grad_(True)
    y = fn(leaf).reshape(len(x), -1)
    rows = [
        torch.autograd.grad(y[:, i].sum(), leaf, create_graph=True)[0].reshape(len(x), -1) for i in range(y.shape[1])
    ]
    J = torch.stack(rows, 1)
    out = torch.linalg.slogdet(J).logabsdet
    return torch.where(torch.linalg.matrix_rank(J.detach()) < J.shape[1], -math.inf, out)
