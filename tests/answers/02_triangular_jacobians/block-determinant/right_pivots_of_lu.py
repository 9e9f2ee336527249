def block_log_det(matrix, sizes):
    sign, log_abs = 1, 0
    for block in [matrix[..., s - n : s, s - n : s] for n, s in zip(sizes, torch.tensor(sizes).cumsum(0).tolist())]:
        P, L, U = torch.linalg.lu(block)
        d = U.diagonal(dim1=-2, dim2=-1)
        sign = sign * torch.linalg.det(P).round() * d.sign().prod(-1)
        log_abs = log_abs + d.abs().log().sum(-1)
    return sign, log_abs
