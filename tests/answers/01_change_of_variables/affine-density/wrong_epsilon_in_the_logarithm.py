# mistake: A small number is added to every scale before the logarithm, which changes what a tiny scale counts.
# hint: No scale is 0 here, so the logarithm needs no guard: what does yours make of a scale of 1e-12?
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("zero")
    return base_log_prob((x - b) / a) - (a.abs() + 1e-11).log().sum()
