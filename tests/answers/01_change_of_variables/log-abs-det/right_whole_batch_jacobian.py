def log_abs_det(fn, x):
    """Sum each output over the batch: points do not mix, so the Jacobian of the sum holds every point's own."""
    batch = x.shape[0]

    def summed(points):
        return fn(points).reshape(batch, -1).sum(dim=0)

    jacobian = torch.autograd.functional.jacobian(summed, x, create_graph=True)
    size = jacobian.shape[0]
    matrices = jacobian.reshape(size, batch, size).transpose(0, 1)
    return torch.linalg.slogdet(matrices).logabsdet
