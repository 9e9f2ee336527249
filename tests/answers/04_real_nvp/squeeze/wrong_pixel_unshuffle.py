# mistake: torch's pixel_unshuffle is used, which has another order, and square blocks only.
# hint: Compare the order of the channels with that of the statement.
def squeeze(x, rows, columns):
    """Map x (*batch, C, H, W) to (*batch, rows * columns * C, H / rows, W / columns), places of one color first."""
    if x.shape[-2] % rows or x.shape[-1] % columns:
        raise ValueError(f"expected blocks that fit the image exactly, found {rows} x {columns} for {tuple(x.shape)}")
    batch = x.shape[:-3]
    if rows == columns:
        return torch.nn.functional.pixel_unshuffle(x, rows)
    parts = x.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows)).movedim((-3, -1), (-4, -3))
    return parts.reshape(*batch, -1, x.shape[-2] // rows, x.shape[-1] // columns)


def places(rows, columns):
    """Return the places (i, j) of a block in the order of their numbers."""
    reading = [(i, j) for i in range(rows) for j in range(columns)]
    return sorted(reading, key=lambda place: sum(place) % 2)  # sorting keeps the reading order of equals


def unsqueeze(z, rows, columns):
    """Undo squeeze: map (*batch, rows * columns * C, H, W) to (*batch, C, H * rows, W * columns)."""
    *batch, channels, height, width = z.shape
    if channels % (rows * columns):
        raise ValueError(f"expected a multiple of {rows * columns} channels, found {channels}")
    if rows == columns:
        return torch.nn.functional.pixel_shuffle(z, rows)
    parts = z.unflatten(-3, (-1, rows, columns))
    return parts.movedim((-4, -3), (-3, -1)).reshape(*batch, -1, height * rows, width * columns)
