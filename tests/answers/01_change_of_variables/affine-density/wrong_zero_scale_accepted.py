# mistake: A scale of zero is not refused.
# hint: Read again what has to happen when one of the scales is exactly 0.
def affine_log_density(x, a, b, base_log_prob):
    z = (x - b) / a
    return base_log_prob(z) - a.abs().log().sum()
