# mistake: The absolute value is missing, so a decreasing map gives NaN.
# hint: What is the logarithm of a negative scale, and what does a decreasing map do to lengths?
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = (x - b) / a
    return base_log_prob(z) - torch.log(a).sum()
