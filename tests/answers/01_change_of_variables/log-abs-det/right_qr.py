def log_abs_det(fn, x):
    J = torch.func.vmap(torch.func.jacrev(lambda p: fn(p.reshape(1, *x.shape[1:])).reshape(-1)))(x.reshape(len(x), -1))
    R = torch.linalg.qr(J).R
    return R.diagonal(dim1=1, dim2=2).abs().log().sum(1)
