def made_masks(order, hidden, parameters=1, context=0):
    """With degrees that are spread evenly and then shuffled, by places that count from 0; returns a tuple."""
    D = len(order)
    if set(order) != set(range(D)):
        raise ValueError(f"expected each of 0 to {D - 1} once")
    place = torch.zeros(D, dtype=torch.long).scatter(0, torch.as_tensor(order), torch.arange(D))
    lowest = -1 if context else 0  # the highest place that a unit sees
    kinds = max(D - 1 - lowest, 1)
    seen = torch.cat((place, torch.full((context,), -1)))
    masks = []
    for units in hidden:
        even = torch.arange(units).remainder(kinds) + lowest
        above = even[torch.randperm(units)]
        masks.append(above.unsqueeze(1).ge(seen.unsqueeze(0)))
        seen = above
    outputs = place.unsqueeze(1).expand(D, parameters).reshape(-1, 1)
    masks.append(outputs.gt(seen))
    return tuple(masks)
