def numbered(rows, columns):
    for color in (0, 1):
        for i in range(rows):
            for j in range(columns):
                if (i + j) % 2 == color:
                    yield i, j


def squeeze(x, rows, columns):
    if x.size(-2) % rows > 0 or x.size(-1) % columns > 0:
        raise ValueError("height and width must be multiples of the block's")
    planes = torch.stack([x[..., i::rows, j::columns] for i, j in numbered(rows, columns)], dim=-4)
    return planes.flatten(-4, -3)


def unsqueeze(z, rows, columns):
    if z.size(-3) % (rows * columns) > 0:
        raise ValueError("the number of channels must be a multiple of the places of a block")
    planes = z.unflatten(-3, (rows * columns, -1)).unbind(dim=-4)
    place = dict(zip(numbered(rows, columns), planes))
    lines = [torch.stack([place[i, j] for j in range(columns)], dim=-1).flatten(-2) for i in range(rows)]
    return torch.stack(lines, dim=-2).flatten(-3, -2)
