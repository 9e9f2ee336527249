# mistake: The blocks are cut out of the first two dimensions, which are those of the batch.
# hint: The matrix is in the last two dimensions: matrix[..., a:b, a:b].
def block_log_det(matrix, sizes):
    """Return (sign, log|det|), each (*batch), of lower block triangular matrices (*batch, D, D)."""
    sign = torch.ones_like(matrix[..., 0, 0])
    log_abs = torch.zeros_like(matrix[..., 0, 0])
    start = 0
    for size in sizes:
        stop = start + size
        block = torch.linalg.slogdet(matrix[start:stop, start:stop])
        sign = sign * block.sign
        log_abs = log_abs + block.logabsdet
        start = stop
    return sign, log_abs
