def _eliminate(block):
    """Sign and log|det| of blocks (n, n) batched in the first dimension, by elimination with row pivots."""
    count, size, _ = block.shape
    sign = torch.ones(count, dtype=block.dtype)
    log_abs = torch.zeros(count, dtype=block.dtype)
    item = torch.arange(count)
    for k in range(size):
        pivot = k + block[:, k:, k].detach().abs().argmax(dim=1)
        order = torch.arange(size).repeat(count, 1)
        order[item, pivot] = k
        order[:, k] = pivot
        block = block.gather(1, order[:, :, None].expand(count, size, size))
        head = block[:, k, k]
        sign = sign * head.sign() * torch.where(pivot == k, 1, -1).to(block.dtype)
        log_abs = log_abs + head.abs().log()
        safe = torch.where(head == 0, torch.ones_like(head), head)
        factor = block[:, k + 1 :, k] / safe[:, None]
        tail = block[:, k + 1 :] - factor[:, :, None] * block[:, k : k + 1]
        block = torch.cat([block[:, : k + 1], tail], dim=1)
    return sign.detach(), log_abs


def block_log_det(matrix, sizes):
    batch = matrix.shape[:-2]
    flat = matrix.reshape(-1, *matrix.shape[-2:])
    stops = torch.cumsum(torch.tensor(sizes), 0).tolist()
    parts = [_eliminate(flat[:, stop - size : stop, stop - size : stop]) for size, stop in zip(sizes, stops)]
    sign = torch.stack([part[0] for part in parts]).prod(dim=0)
    log_abs = torch.stack([part[1] for part in parts]).sum(dim=0)
    return sign.reshape(batch), log_abs.reshape(batch)
