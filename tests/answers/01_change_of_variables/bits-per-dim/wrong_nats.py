# mistake: The result is in nats: the division by log 2 is missing.
# hint: Bits use the logarithm to base 2.
def dequantize(images, noise, levels, low, high):
    return low + (high - low) * (images.to(noise.dtype) + noise) / levels


def bits_per_dim(log_density, dimensions, levels, low, high):
    log_mean = torch.logsumexp(log_density, dim=0) - math.log(log_density.shape[0])
    log_volume = dimensions * math.log((high - low) / levels)
    return -(log_mean + log_volume) / dimensions
