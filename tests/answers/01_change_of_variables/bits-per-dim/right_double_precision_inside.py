def dequantize(images, noise, levels, low, high):
    ends = torch.tensor([low, high], dtype=torch.float64)
    return torch.lerp(*ends, (images.double() + noise.double()) / levels).to(noise.dtype)


def bits_per_dim(log_density, dimensions, levels, low, high):
    K = log_density.shape[0]
    p = torch.logsumexp(log_density.double() - torch.log(torch.tensor(K)), 0)
    bits = -p / torch.log(torch.tensor(2.0)) / dimensions - torch.log2(torch.tensor((high - low) / levels))
    return bits.to(log_density.dtype)
