# mistake: The logarithm is right, but the sign is that of a product that runs out of range.
# hint: The sign of a product needs the signs of its factors, not the product.
def block_log_det(matrix, sizes):
    """Return (sign, log|det|), each (*batch), of lower block triangular matrices (*batch, D, D)."""
    sign = torch.ones_like(matrix[..., 0, 0])
    log_abs = torch.zeros_like(matrix[..., 0, 0])
    start = 0
    for size in sizes:
        stop = start + size
        block = torch.linalg.det(matrix[..., start:stop, start:stop])
        sign = sign * block
        log_abs = log_abs + block.abs().log()
        start = stop
    return sign.sign(), log_abs
