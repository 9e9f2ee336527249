def affine_log_density(x, a, b, base_log_prob):
    """Undo the map coordinate by coordinate and collect half the logarithm of each squared scale."""
    columns, log_volume = [], torch.zeros((), dtype=x.dtype)
    for i in range(x.shape[1]):
        if a[i] == 0:
            raise ValueError(f"scale {i} is zero")
        columns.append((x[:, i] - b[i]) / a[i])
        log_volume = log_volume + torch.log(a[i].square()) / 2
    return base_log_prob(torch.stack(columns, dim=1)) - log_volume
