class DegenerateMap(ValueError):
    pass


def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise DegenerateMap("a has a zero entry")
    return base_log_prob((x - b) / a) - a.abs().log().sum()
