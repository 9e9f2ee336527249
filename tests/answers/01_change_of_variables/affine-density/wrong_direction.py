# mistake: The map is read as z = a x + b, from data to latent.
# hint: The text says that x is computed from z: solve that equation for z.
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = a * x + b
    return base_log_prob(z) + a.abs().log().sum()
