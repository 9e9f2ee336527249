def log_abs_det(fn, x):
    J = torch.func.vmap(torch.func.jacrev(lambda p: fn(p.reshape(1, *x.shape[1:])).reshape(-1)))(x.reshape(len(x), -1))
    return torch.linalg.svdvals(J).log().sum(1)
