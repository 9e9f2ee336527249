# mistake: The standard normal is written in, whatever base is handed over.
# hint: Use the function that you are given: the base need not be normal.
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = (x - b) / a
    log_base = -0.5 * (z**2 + math.log(2 * math.pi)).sum(dim=1)
    return log_base - a.abs().log().sum()
