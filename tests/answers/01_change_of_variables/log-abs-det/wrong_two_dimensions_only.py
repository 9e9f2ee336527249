# mistake: The formula for 2 x 2 matrices is written in.
# hint: Points may have any number of coordinates, also one.
def log_abs_det(fn, x):
    flat = x.reshape(len(x), -1)

    def one(v):
        return fn(v.reshape(1, *x.shape[1:])).reshape(-1)

    j = torch.func.vmap(torch.func.jacrev(one))(flat)
    return torch.log(torch.abs(j[:, 0, 0] * j[:, 1, 1] - j[:, 0, 1] * j[:, 1, 0]))
