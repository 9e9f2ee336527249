# mistake: Degrees of a later layer begin with the lowest one of the layer below, not with 1.
# hint: Spread the degrees of every layer by itself, from 1 (with a context from 0) to D - 1.
def made_masks(order, hidden, parameters=1, context=0):
    """Return the masks of a MADE's layers, bool (out, in) each, for an order of the coordinates and sizes of hidden layers."""
    D = len(order)
    if sorted(order) != list(range(D)):
        raise ValueError(f"expected each of 0 to {D - 1} once, found {order}")
    places = torch.tensor(order).argsort() + 1
    lowest = 0 if context else 1
    count = max(D - lowest, 1)
    below = torch.cat([places, torch.zeros(context, dtype=places.dtype)])  # all units may see what has degree 0
    masks = []
    for units in hidden:
        low = max(int(degrees.min()), lowest) if masks else lowest
        degrees = D - 1 - torch.arange(units) % max(D - low, 1)
        masks.append(degrees[:, None] >= below)
        below = degrees
    masks.append(places.repeat_interleave(parameters)[:, None] > below)
    return masks
