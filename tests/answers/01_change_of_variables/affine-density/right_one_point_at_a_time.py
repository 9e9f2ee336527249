def affine_log_density(x, a, b, base_log_prob):
    if any(float(v) == 0 for v in a):
        raise ValueError
    return torch.cat([base_log_prob(((p - b) / a)[None]) - sum(v.abs().log() for v in a) for p in x])
