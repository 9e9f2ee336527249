# mistake: takes the logarithm of a where that of |a| is meant
# hint: What does a negative factor do to lengths?
def scale_log_density(x, a):
    """Log-density of x = a z, z standard normal."""
    z = x / a
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - math.log(a)
