# mistake: The Jacobian of the first point is used for all points.
# hint: Only for a linear map is the Jacobian the same everywhere.
def log_abs_det(fn, x):
    first = x[:1]
    jacobian = torch.autograd.functional.jacobian(fn, first, create_graph=True)
    size = first.numel()
    return torch.linalg.slogdet(jacobian.reshape(size, size)).logabsdet.expand(len(x))
