def scale_log_density(x, a):
    """Log-density of x = a z, z standard normal."""
    return -0.5 * (x**2 / a**2 + math.log(2 * math.pi * a**2))
