# mistake: Only the diagonal entries count, as if every block were triangular.
# hint: A block [[1, 2], [3, 4]] has the determinant -2, not 4.
def block_log_det(matrix, sizes):
    """Return (sign, log|det|), each (*batch), of lower block triangular matrices (*batch, D, D)."""
    sign = torch.ones_like(matrix[..., 0, 0])
    log_abs = torch.zeros_like(matrix[..., 0, 0])
    start = 0
    for size in sizes:
        stop = start + size
        block = torch.linalg.slogdet(matrix[..., start:stop, start:stop].diagonal(dim1=-2, dim2=-1).diag_embed())
        sign = sign * block.sign
        log_abs = log_abs + block.logabsdet
        start = stop
    return sign, log_abs
