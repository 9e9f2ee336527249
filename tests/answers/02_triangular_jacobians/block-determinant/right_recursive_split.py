def block_log_det(matrix, sizes):
    first, rest = sizes[0], sizes[1:]
    head = matrix[..., :first, :first]
    if first == 1:
        entry = head[..., 0, 0]
        sign, log_abs = torch.sgn(entry), torch.log(torch.abs(entry))
    else:
        sign, log_abs = torch.slogdet(head)
    if not rest:
        return sign, log_abs
    other_sign, other_log_abs = block_log_det(matrix[..., first:, first:], rest)
    return sign * other_sign, log_abs + other_log_abs
