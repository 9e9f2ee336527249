def checkerboard(shape, size=1, flip=False):
    """Stripes in each direction, combined by exclusive or."""
    if size < 1:
        raise ValueError(f"size {size} is too small")
    C, H, W = shape

    def stripes(length, width):
        pattern = torch.tensor([False, True]).repeat_interleave(width)
        return pattern.repeat(length // (2 * width) + 1)[:length]

    odd = stripes(C, 1)[:, None, None] ^ stripes(H, size)[None, :, None] ^ stripes(W, size)[None, None, :]
    return odd if flip else ~odd


def channel_turn(shape, groups, turn):
    C, H, W = shape
    if groups not in range(2, C + 1):
        raise ValueError(f"{groups} groups of {C} channels")
    one = torch.nn.functional.one_hot(torch.tensor(turn % groups), groups).bool()
    row = ~one.repeat(-(-C // groups))[:C]
    return row.reshape(C, 1, 1).expand(C, H, W).contiguous()


def mask_schedule(shape, size, groups, count):
    first = checkerboard(shape, size)
    a_round = torch.cat([first[None], ~first[None], torch.stack([channel_turn(shape, groups, g) for g in range(groups)])])
    return a_round[torch.arange(count) % len(a_round)]
