def affine_log_density(x, a, b, base_log_prob):
    """Write the map from data to latent as z = w * x + c first, then use its own log-determinant."""
    if not bool(a.all()):
        raise ValueError("a has a zero")
    w = 1 / a
    c = -b * w
    return base_log_prob(torch.addcmul(c, w, x)) + torch.log(torch.abs(w)).sum(dim=-1)
