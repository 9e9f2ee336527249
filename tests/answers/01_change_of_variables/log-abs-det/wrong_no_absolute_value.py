# mistake: The absolute value is missing, so a map that reverses orientation gives NaN.
# hint: Swapping two coordinates has determinant -1.
def log_abs_det(fn, x):
    flat = x.reshape(len(x), -1)

    def one(v):
        return fn(v.reshape(1, *x.shape[1:])).reshape(-1)

    jacobian = torch.func.vmap(torch.func.jacrev(one))(flat)
    return torch.linalg.slogdet(jacobian)[1] + torch.log(torch.linalg.slogdet(jacobian)[0])
