# mistake: The pixels are converted to float64, so the result loses the dtype of the noise.
# hint: The result has the dtype of the noise.
def dequantize(images, noise, levels, low, high):
    return low + (high - low) * (images.double() + noise) / levels


def bits_per_dim(log_density, dimensions, levels, low, high):
    log_mean = torch.logsumexp(log_density, dim=0) - math.log(log_density.shape[0])
    log_volume = dimensions * math.log((high - low) / levels)
    return -(log_mean + log_volume) / (dimensions * math.log(2))
