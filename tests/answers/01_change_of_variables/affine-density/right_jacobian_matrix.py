def affine_log_density(x, a, b, base_log_prob):
    """Build the Jacobian of the map from latent to data and take its log-determinant."""
    sign, log_abs_det = torch.linalg.slogdet(torch.diag(a))
    if sign == 0:
        raise ValueError("the map is not invertible")
    z = torch.linalg.solve(torch.diag(a), (x - b).T).T
    return base_log_prob(z) - log_abs_det
