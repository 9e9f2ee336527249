# mistake: The log-determinant is summed over the whole batch, not over the coordinates of one point.
# hint: Ask for one point, then for the same point in a batch of ten: the answer must not change.
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = (x - b) / a
    log_scale = a.abs().log().expand(x.shape)
    return base_log_prob(z) - log_scale.sum()
