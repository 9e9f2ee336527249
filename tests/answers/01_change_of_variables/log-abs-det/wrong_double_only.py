# mistake: Everything is converted to float64, so the result loses the dtype of the points.
# hint: The result has the dtype of x.
def log_abs_det(fn, x):
    wide = x.double()
    flat = wide.reshape(len(x), -1)

    def one(v):
        return fn(v.reshape(1, *x.shape[1:])).reshape(-1)

    return torch.linalg.slogdet(torch.func.vmap(torch.func.jacrev(one))(flat)).logabsdet
