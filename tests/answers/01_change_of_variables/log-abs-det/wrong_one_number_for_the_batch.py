# mistake: The whole batch is treated as one long vector, and every point gets the log-determinant of all points together.
# hint: Ask for one point, then for the same point in a batch of ten: the answer must not change.
def log_abs_det(fn, x):
    jacobian = torch.autograd.functional.jacobian(fn, x, create_graph=True).reshape(x.numel(), x.numel())
    return torch.linalg.slogdet(jacobian).logabsdet.expand(len(x))
