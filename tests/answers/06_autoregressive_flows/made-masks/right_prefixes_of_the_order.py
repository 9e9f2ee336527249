def made_masks(order, hidden, parameters=1, context=0):
    """By the sets of coordinates that units see: the first ones of the order."""
    D = len(order)
    if not all(order.count(i) == 1 for i in range(D)):
        raise ValueError("each coordinate has to be in the order once")
    first = [frozenset(order[:k]) for k in range(D + 1)]
    lowest = 0 if context or D == 1 else 1
    below = [first[order.index(j) + 1] for j in range(D)] + [frozenset()] * context
    masks = []
    for size in hidden:
        units = [first[lowest + n % (D - lowest)] for n in range(size)]
        masks.append(torch.tensor([[part <= unit for part in below] for unit in units]))
        below = units
    rows = [[part <= first[order.index(i)] for part in below] for i in range(D) for _ in range(parameters)]
    return [*masks, torch.tensor(rows)]
