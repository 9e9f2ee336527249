from itertools import cycle, islice


def checkerboard(shape, size=1, flip=False):
    if size <= 0:
        raise ValueError("no squares of this size")
    C, H, W = tuple(shape)
    signs = [(-1) ** (torch.arange(n) // width) for n, width in ((C, 1), (H, size), (W, size))]
    product = torch.einsum("c,h,w->chw", *signs)
    return product < 0 if flip else product > 0


def channel_turn(shape, groups, turn):
    C, H, W = tuple(shape)
    if groups < 2:
        raise ValueError("at least two groups")
    if C < groups:
        raise ValueError("a group without a channel")
    return torch.stack([torch.full((H, W), (c - turn) % groups != 0) for c in range(C)])


def mask_schedule(shape, size, groups, count):
    masks = [checkerboard(shape, size), checkerboard(shape, size, True)]
    masks.extend(channel_turn(shape, groups, t) for t in range(groups))
    return torch.stack(list(islice(cycle(masks), count)))
