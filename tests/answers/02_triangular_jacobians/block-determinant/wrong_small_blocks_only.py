# mistake: Of a large block only the first four rows and columns are looked at.
# hint: A block may be of any size, and all of it counts.
def block_log_det(matrix, sizes):
    sign = matrix.new_ones(matrix.shape[:-2])
    log_abs = matrix.new_zeros(matrix.shape[:-2])
    start = 0
    for n in sizes:
        s, l = torch.linalg.slogdet(matrix[..., start : start + min(n, 4), start : start + min(n, 4)])
        sign = sign * s
        log_abs = log_abs + l
        start += n
    return sign, log_abs
