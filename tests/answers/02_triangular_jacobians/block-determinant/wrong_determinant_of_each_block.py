# mistake: The determinant of a block is computed before its logarithm, so one large block underflows or overflows.
# hint: torch.linalg.slogdet gives the sign and the logarithm without the determinant itself.
def block_log_det(matrix, sizes):
    sign = matrix.new_ones(matrix.shape[:-2])
    log_abs = matrix.new_zeros(matrix.shape[:-2])
    start = 0
    for n in sizes:
        det = torch.linalg.det(matrix[..., start : start + n, start : start + n])
        sign = sign * det.sign()
        log_abs = log_abs + det.abs().log()
        start += n
    return sign, log_abs
