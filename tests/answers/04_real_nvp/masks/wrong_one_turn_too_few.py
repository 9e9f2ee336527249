# mistake: The last group has no turn.
# hint: A round has two checkerboards and as many turns as groups.
def checkerboard(shape, size=1, flip=False):
    """Return the mask (C, H, W) whose squares of size x size pixels are kept in turn, channel after channel."""
    if size < 1:
        raise ValueError(f"expected a size of at least 1, found {size}")
    C, H, W = shape
    channel, row, column = torch.arange(C)[:, None, None], torch.arange(H)[:, None] // size, torch.arange(W) // size
    return (channel + row + column) % 2 == int(flip)


def channel_turn(shape, groups, turn):
    """Return the mask (C, H, W) that moves the channels of one group, which is turn modulo groups."""
    C, H, W = shape
    if not 2 <= groups <= C:
        raise ValueError(f"expected from 2 to {C} groups, found {groups}")
    kept = torch.arange(C) % groups != turn % groups
    return kept[:, None, None].repeat(1, H, W)


def mask_schedule(shape, size, groups, count):
    """Return the masks (count, C, H, W) of a stack of couplings: two checkerboards, then every group, and so on."""
    masks = [checkerboard(shape, size, flip) for flip in (False, True)]
    masks += [channel_turn(shape, groups, turn) for turn in range(groups - 1)]
    return torch.stack([masks[k % len(masks)] for k in range(count)])
