# mistake: The logarithm is taken of the determinant and not of its absolute value: NaN where it is negative.
# hint: A volume has no sign: take the logarithm of |det|.
def block_log_det(matrix, sizes):
    """Return (sign, log|det|), each (*batch), of lower block triangular matrices (*batch, D, D)."""
    sign = torch.ones_like(matrix[..., 0, 0])
    log_abs = torch.zeros_like(matrix[..., 0, 0])
    start = 0
    for size in sizes:
        stop = start + size
        block = torch.linalg.det(matrix[..., start:stop, start:stop])
        sign = sign * block.sign()
        log_abs = log_abs + block.log()
        start = stop
    return sign, log_abs
