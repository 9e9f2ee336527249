# mistake: The gradient of the sum of all outputs is taken for the diagonal, as if the map acted coordinate by coordinate.
# hint: Write down the Jacobian of a shear: which of its entries does your code see?
def log_abs_det(fn, x):
    v = x if x.requires_grad else x.detach().requires_grad_(True)
    slope = torch.autograd.grad(fn(v).sum(), v, create_graph=True)[0]
    return slope.reshape(len(x), -1).abs().log().sum(dim=1)
