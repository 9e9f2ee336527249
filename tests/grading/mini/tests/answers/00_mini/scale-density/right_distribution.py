def scale_log_density(x, a):
    """Log-density of x = a z, z standard normal."""
    return torch.distributions.Normal(0.0, 1.0).log_prob(x / a) - math.log(abs(a))
