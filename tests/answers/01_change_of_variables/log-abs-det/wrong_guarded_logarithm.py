# mistake: A small number is added inside the logarithm, so a singular Jacobian has a finite answer.
# hint: A guard such as 1e-12 hides what is to be found out.
def log_abs_det(fn, x):
    flat = x.reshape(len(x), -1)

    def one(v):
        return fn(v.reshape(1, *x.shape[1:])).reshape(-1)

    jacobian = torch.func.vmap(torch.func.jacrev(one))(flat)
    return torch.log(torch.abs(torch.linalg.det(jacobian)) + 1e-12)
