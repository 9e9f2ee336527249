# mistake: Each place is replaced by the mean of its block, as a pooling layer does.
# hint: Nothing may be lost: the squeezed image has as many numbers as the image.
def squeeze(x, rows, columns):
    """Map x (*batch, C, H, W) to (*batch, rows * columns * C, H / rows, W / columns), places of one color first."""
    if x.shape[-2] % rows or x.shape[-1] % columns:
        raise ValueError(f"expected blocks that fit the image exactly, found {rows} x {columns} for {tuple(x.shape)}")
    parts = [x[..., i::rows, j::columns] for i, j in places(rows, columns)]
    mean = sum(part.double() for part in parts) / len(parts)
    return torch.cat([mean.to(x.dtype) for _ in parts], dim=-3)


def places(rows, columns):
    """Return the places (i, j) of a block in the order of their numbers."""
    reading = [(i, j) for i in range(rows) for j in range(columns)]
    return sorted(reading, key=lambda place: sum(place) % 2)  # sorting keeps the reading order of equals


def unsqueeze(z, rows, columns):
    """Undo squeeze: map (*batch, rows * columns * C, H, W) to (*batch, C, H * rows, W * columns)."""
    *batch, channels, height, width = z.shape
    if channels % (rows * columns):
        raise ValueError(f"expected a multiple of {rows * columns} channels, found {channels}")
    x = z.new_empty(*batch, channels // (rows * columns), height * rows, width * columns)
    for (i, j), part in zip(places(rows, columns), z.chunk(rows * columns, dim=-3)):
        x[..., i::rows, j::columns] = part
    return x
