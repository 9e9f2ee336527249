def order_of(rows, columns):
    """Return a tensor: the place in reading order of each number."""
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.argsort(((i + j) % 2).flatten(), stable=True)


def squeeze(x, rows, columns):
    *batch, C, H, W = x.shape
    if H % rows != 0 or W % columns != 0:
        raise ValueError("the blocks do not fit")
    blocks = x.reshape(*batch, C, H // rows, rows, W // columns, columns)
    n = len(batch)
    blocks = blocks.permute(*range(n), n + 2, n + 4, n, n + 1, n + 3)  # rows, columns, C, H, W
    blocks = blocks.reshape(*batch, rows * columns, C, H // rows, W // columns)
    blocks = blocks.index_select(n, order_of(rows, columns))
    return blocks.reshape(*batch, rows * columns * C, H // rows, W // columns)


def unsqueeze(z, rows, columns):
    *batch, K, H, W = z.shape
    if K % (rows * columns) != 0:
        raise ValueError("these channels were not squeezed")
    n, C = len(batch), K // (rows * columns)
    blocks = z.reshape(*batch, rows * columns, C, H, W)
    blocks = blocks.index_select(n, torch.argsort(order_of(rows, columns)))
    blocks = blocks.reshape(*batch, rows, columns, C, H, W)
    blocks = blocks.permute(*range(n), n + 2, n + 3, n, n + 4, n + 1)
    return blocks.reshape(*batch, C, H * rows, W * columns)
