def log_abs_det(fn, x):
    """Differentiate the map of one flattened point, and let vmap run over the batch."""
    shape = x.shape[1:]

    def one(v):
        return fn(v.reshape(1, *shape)).reshape(-1)

    jacobian = torch.func.vmap(torch.func.jacrev(one))(x.reshape(len(x), -1))
    return torch.linalg.slogdet(jacobian)[1]
