# mistake: The noise is moved to [-1/2, 1/2), so cells overlap the borders of the interval.
# hint: Level 0 starts at the lower end of the interval: where does your lowest value land?
def dequantize(images, noise, levels, low, high):
    return low + (high - low) * (images.to(noise.dtype) + noise - 0.5) / levels


def bits_per_dim(log_density, dimensions, levels, low, high):
    log_mean = torch.logsumexp(log_density, dim=0) - math.log(log_density.shape[0])
    log_volume = dimensions * math.log((high - low) / levels)
    return -(log_mean + log_volume) / (dimensions * math.log(2))
