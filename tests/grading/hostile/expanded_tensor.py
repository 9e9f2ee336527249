# class: results
# attack: answers a tensor of terabytes that takes eight bytes
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    return torch.zeros(1, dtype=torch.float64).expand(10**12)
