def dequantize(images, noise, levels, low, high):
    """A weighted mean of the two ends of the interval."""
    share = (images.to(dtype=noise.dtype) + noise) / levels
    return (1 - share) * low + share * high


def bits_per_dim(log_density, dimensions, levels, low, high):
    """Add up the densities two by two on the logarithmic scale."""
    total = log_density[0]
    for row in log_density[1:]:
        total = torch.logaddexp(total, row)
    nats_for_each_pixel = (math.log(len(log_density)) - total) / dimensions + math.log(levels / (high - low))
    return nats_for_each_pixel / math.log(2)
