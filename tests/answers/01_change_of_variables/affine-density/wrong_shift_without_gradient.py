# mistake: The shifts are detached, so no gradient reaches them.
# hint: detach() is for what nobody trains: the shifts are trained like the scales.
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("zero")
    return base_log_prob((x - b.detach()) / a) - a.abs().log().sum()
