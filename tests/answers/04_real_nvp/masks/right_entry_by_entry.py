def checkerboard(shape, size=1, flip=False):
    if size < 1:
        raise ValueError("the size must be at least 1")
    C, H, W = shape
    mask = torch.zeros(C, H, W, dtype=torch.bool)
    for c in range(C):
        for h in range(H):
            for w in range(W):
                even = (c + h // size + w // size) % 2 == 0
                mask[c, h, w] = even != flip
    return mask


def channel_turn(shape, groups, turn):
    if groups < 2 or groups > shape[0]:
        raise ValueError("every group needs a channel, and there must be two groups")
    mask = torch.ones(*shape, dtype=torch.bool)
    mask[turn % groups :: groups] = False
    return mask


def mask_schedule(shape, size, groups, count):
    masks = []
    for k in range(count):
        place = k % (2 + groups)
        if place < 2:
            masks.append(checkerboard(shape, size, flip=place == 1))
        else:
            masks.append(channel_turn(shape, groups, place - 2))
    return torch.stack(masks)
