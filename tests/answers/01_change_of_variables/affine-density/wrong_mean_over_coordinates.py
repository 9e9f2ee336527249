# mistake: The log-determinant is averaged over the coordinates.
# hint: A box that is stretched by 2 along each of D sides grows by 2 to the power D.
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = (x - b) / a
    return base_log_prob(z) - a.abs().log().mean()
