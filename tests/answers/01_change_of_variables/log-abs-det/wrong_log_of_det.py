# mistake: The determinant is computed first, which is 0 or infinite for many coordinates, and then its logarithm.
# hint: What does a computer make of 1e-9 to the power 60, and which function returns the logarithm directly?
def log_abs_det(fn, x):
    flat = x.reshape(len(x), -1)

    def one(v):
        return fn(v.reshape(1, *x.shape[1:])).reshape(-1)

    jacobian = torch.func.vmap(torch.func.jacrev(one))(flat)
    return torch.log(torch.abs(torch.linalg.det(jacobian)))
