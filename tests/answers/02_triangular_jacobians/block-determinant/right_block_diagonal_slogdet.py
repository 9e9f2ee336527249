def block_log_det(matrix, sizes):
    group = torch.tensor([k for k, size in enumerate(sizes) for _ in range(size)])
    same = group[:, None] == group[None, :]
    block_diagonal = torch.where(same, matrix, torch.zeros((), dtype=matrix.dtype))
    result = torch.linalg.slogdet(block_diagonal)
    return result.sign, result.logabsdet
