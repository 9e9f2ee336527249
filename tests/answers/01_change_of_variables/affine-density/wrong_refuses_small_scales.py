# mistake: A scale is refused because it is small, not because it is 0.
# hint: A scale of 1e-12 is fine: data in other units may well need it. Only exactly 0 leaves no density.
def affine_log_density(x, a, b, base_log_prob):
    if (a.abs() < 1e-6).any():
        raise ValueError("zero")
    return base_log_prob((x - b) / a) - a.abs().log().sum()
