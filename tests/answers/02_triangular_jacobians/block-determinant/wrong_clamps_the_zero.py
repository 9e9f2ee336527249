# mistake: The absolute value is kept away from zero, so a singular matrix gets a finite logarithm.
# hint: What is the logarithm of a volume of 0? Hiding it makes a broken flow look fine.
def block_log_det(matrix, sizes):
    """Return (sign, log|det|), each (*batch), of lower block triangular matrices (*batch, D, D)."""
    sign = torch.ones_like(matrix[..., 0, 0])
    log_abs = torch.zeros_like(matrix[..., 0, 0])
    start = 0
    for size in sizes:
        stop = start + size
        block = torch.linalg.det(matrix[..., start:stop, start:stop])
        sign = sign * block.sign()
        log_abs = log_abs + block.abs().clamp(min=1e-12).log()
        start = stop
    return sign, log_abs
