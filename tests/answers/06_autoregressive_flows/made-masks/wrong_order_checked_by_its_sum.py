# mistake: An order is accepted if its sum, its smallest and its largest coordinate are right.
# hint: A coordinate may come twice while the sum is right.
def made_masks(order, hidden, parameters=1, context=0):
    """Return the masks of a MADE's layers, bool (out, in) each, for an order of the coordinates and sizes of hidden layers."""
    D = len(order)
    if sum(order) != D * (D - 1) // 2 or min(order) < 0 or max(order) >= D:
        raise ValueError(f"expected each of 0 to {D - 1} once, found {order}")
    places = torch.tensor(order).argsort() + 1
    lowest = 0 if context else 1
    count = max(D - lowest, 1)
    below = torch.cat([places, torch.zeros(context, dtype=places.dtype)])  # all units may see what has degree 0
    masks = []
    for units in hidden:
        degrees = lowest + torch.arange(units) % count
        masks.append(degrees[:, None] >= below)
        below = degrees
    masks.append(places.repeat_interleave(parameters)[:, None] > below)
    return masks
