# mistake: The equation is solved wrongly: z = x / a - b instead of (x - b) / a.
# hint: Undo the steps from latent to data in the opposite order: which of stretch and shift came last?
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = x / a - b
    return base_log_prob(z) - a.abs().log().sum()
