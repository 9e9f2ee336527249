# mistake: The base density is evaluated at the data point instead of at its latent point.
# hint: The base density knows latent points only: which z belongs to this x?
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    return base_log_prob(x) - a.abs().log().sum()
