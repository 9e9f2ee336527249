# mistake: The size of the last layer is appended to the list that was handed in.
# hint: Make a list of your own before you append to it.
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
    hidden.append(parameters * D)
    for units in hidden[:-1]:
        degrees = lowest + torch.arange(units) % count
        masks.append(degrees[:, None] >= below)
        below = degrees
    masks.append(places.repeat_interleave(parameters)[:, None] > below)
    return masks
