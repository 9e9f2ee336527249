# mistake: Everything is computed in float32, whatever comes in.
# hint: Keep the dtype of what you are given from the first line to the last.
def dequantize(images, noise, levels, low, high):
    y = low + (high - low) * (images + noise.float()) / levels
    return y.to(noise.dtype)


def bits_per_dim(log_density, dimensions, levels, low, high):
    ld = log_density.float()
    log_p = torch.logsumexp(ld, dim=0) - math.log(len(ld)) + dimensions * math.log((high - low) / levels)
    return (-log_p / (dimensions * math.log(2))).to(log_density.dtype)
