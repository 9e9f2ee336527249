# mistake: Only the diagonal of the Jacobian is used.
# hint: The determinant is the product of the diagonal for triangular matrices only.
def log_abs_det(fn, x):
    flat = x.reshape(len(x), -1)

    def one(v):
        return fn(v.reshape(1, *x.shape[1:])).reshape(-1)

    jacobian = torch.func.vmap(torch.func.jacrev(one))(flat)
    return jacobian.diagonal(dim1=1, dim2=2).abs().log().sum(dim=1)
