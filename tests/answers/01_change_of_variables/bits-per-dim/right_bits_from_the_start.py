def dequantize(images, noise, levels, low, high):
    """Left edge of the cell plus a part of its width."""
    width = (high - low) / levels
    return low + images * width + noise * width


def bits_per_dim(log_density, dimensions, levels, low, high):
    """Count in bits: the bits of the cells of the unit cube, less what the density and the interval give back."""
    largest = log_density.max(dim=0).values
    mean = (log_density - largest).exp().mean(dim=0)
    log_p = largest + mean.log()
    return math.log2(levels) - math.log2(high - low) - log_p / math.log(2) / dimensions
