# mistake: The log-densities are clamped to what an ordinary image has.
# hint: A large image has millions of nats: logsumexp needs no clamp.
def dequantize(images, noise, levels, low, high):
    return low + (high - low) * (images + noise) / levels


def bits_per_dim(log_density, dimensions, levels, low, high):
    ld = log_density.clamp(-30000, 30000)
    log_p = torch.logsumexp(ld, dim=0) - math.log(len(ld)) + dimensions * math.log((high - low) / levels)
    return -log_p / (dimensions * math.log(2))
