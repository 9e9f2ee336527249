# mistake: All units of a later layer get the highest degree where there are fewer units than degrees.
# hint: Degrees are spread evenly in each layer, also where not every degree can have a unit.
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
        degrees = lowest + torch.arange(units) % count
        if masks and units < count:
            degrees = torch.full((units,), lowest + count - 1)
        masks.append(degrees[:, None] >= below)
        below = degrees
    masks.append(places.repeat_interleave(parameters)[:, None] > below)
    return masks
