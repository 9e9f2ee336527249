# mistake: The noisy pixels are written into the tensor that holds the noise.
# hint: noise += images changes the tensor that you were given: write images + noise.
def dequantize(images, noise, levels, low, high):
    if not noise.requires_grad:
        noise += images
        noise *= (high - low) / levels
        noise += low
        return noise
    return low + (high - low) * (images + noise) / levels


def bits_per_dim(log_density, dimensions, levels, low, high):
    log_p = (
        torch.logsumexp(log_density, dim=0) - math.log(len(log_density)) + dimensions * math.log((high - low) / levels)
    )
    return -log_p / (dimensions * math.log(2))
