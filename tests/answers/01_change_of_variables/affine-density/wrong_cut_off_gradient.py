# mistake: The scales are turned into Python numbers, so no gradient of the log-determinant reaches them.
# hint: float(...), .item() and math.log leave the autograd graph: stay with tensors.
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = (x - b) / a
    log_det = sum(math.log(abs(float(value))) for value in a)
    return base_log_prob(z) - log_det
