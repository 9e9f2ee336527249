def log_abs_det(fn, x):
    """One Jacobian after the other, and the determinant from the pivots of an LU decomposition."""
    values = []
    for point in x:
        batch_of_one = point.unsqueeze(0)
        jacobian = torch.autograd.functional.jacobian(fn, batch_of_one, create_graph=True)
        size = point.numel()
        _, _, upper = torch.linalg.lu(jacobian.reshape(size, size))
        values.append(upper.diagonal().abs().log().sum())
    return torch.stack(values)
