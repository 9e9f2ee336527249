def dequantize(images, noise, levels, low, high):
    """Fill the unit interval, then stretch it."""
    unit = torch.add(noise, images).div(levels)
    return torch.lerp(torch.full_like(unit, low), torch.full_like(unit, high), unit)


def bits_per_dim(log_density, dimensions, levels, low, high):
    """Move the density to the unit cube first; there every cell has volume levels^(-D)."""
    draws = len(log_density)
    on_unit_cube = log_density + dimensions * math.log(high - low)
    log_probability = torch.logsumexp(on_unit_cube - math.log(draws) - dimensions * math.log(levels), 0)
    return log_probability * (-1 / math.log(2) / dimensions)
