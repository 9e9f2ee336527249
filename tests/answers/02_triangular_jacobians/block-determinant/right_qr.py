def block_log_det(matrix, sizes):
    sign, log_abs = 1, 0
    start = 0
    for n in sizes:
        block = matrix[..., start : start + n, start : start + n]
        Q, R = torch.linalg.qr(block)
        d = R.diagonal(dim1=-2, dim2=-1)
        sign = sign * torch.linalg.det(Q.detach()).round() * d.detach().sign().prod(-1)
        log_abs = log_abs + d.abs().log().sum(-1)
        start += n
    return sign, log_abs
