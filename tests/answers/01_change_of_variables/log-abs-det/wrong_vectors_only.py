# mistake: Only vectors work: for images the Jacobian is not brought into the form of a matrix.
# hint: Try a batch of images (batch, 1, 2, 2): D is the product of the last three sizes.
def log_abs_det(fn, x):
    def one(v):
        return fn(v.unsqueeze(0)).squeeze(0)

    jacobian = torch.func.vmap(torch.func.jacrev(one))(x)
    return torch.linalg.slogdet(jacobian).logabsdet
