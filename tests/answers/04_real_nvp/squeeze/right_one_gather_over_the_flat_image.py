def sources(C, H, W, rows, columns):
    """Return the flat index in the image of every number of the squeezed image, in its order."""
    numbers = torch.arange(C * H * W).reshape(C, H, W)
    even = [(i, j) for i in range(rows) for j in range(columns) if (i + j) % 2 == 0]
    odd = [(i, j) for i in range(rows) for j in range(columns) if (i + j) % 2 == 1]
    return torch.cat([numbers[:, i::rows, j::columns].reshape(-1) for i, j in even + odd])


def squeeze(x, rows, columns):
    C, H, W = x.shape[-3:]
    if H % rows or W % columns:
        raise ValueError(f"{H} by {W} pixels cannot be cut into blocks of {rows} by {columns}")
    flat = x.flatten(-3)[..., sources(C, H, W, rows, columns)]
    return flat.reshape(*x.shape[:-3], C * rows * columns, H // rows, W // columns)


def unsqueeze(z, rows, columns):
    K, h, w = z.shape[-3:]
    C, rest = divmod(K, rows * columns)
    if rest:
        raise ValueError(f"{K} channels are no multiple of {rows * columns}")
    where = sources(C, h * rows, w * columns, rows, columns)
    flat = z.flatten(-3)[..., torch.argsort(where)]
    return flat.reshape(*z.shape[:-3], C, h * rows, w * columns)
