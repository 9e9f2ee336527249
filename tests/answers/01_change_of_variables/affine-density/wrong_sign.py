# mistake: The log-determinant of the generative direction is added where it has to be subtracted.
# hint: Stretching by 2 spreads the same mass over twice the length: does the density rise or fall?
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = (x - b) / a
    return base_log_prob(z) + a.abs().log().sum()
