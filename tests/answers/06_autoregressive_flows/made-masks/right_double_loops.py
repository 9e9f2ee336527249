def made_masks(order, hidden, parameters=1, context=0):
    """Every weight by itself."""
    D = len(order)
    place = {}
    for k, i in enumerate(order):
        if not 0 <= i < D or i in place:
            raise ValueError(f"{order} is no order of {D} coordinates")
        place[i] = k + 1
    first_degree = 1 if context == 0 else 0
    choices = list(range(first_degree, D)) or [first_degree]
    below = [place[i] for i in range(D)] + [0] * context
    masks = []
    for units in hidden:
        above = sorted(choices[n % len(choices)] for n in range(units))
        mask = torch.zeros(units, len(below), dtype=torch.bool)
        for a in range(units):
            for b in range(len(below)):
                mask[a, b] = above[a] >= below[b]
        masks.append(mask)
        below = above
    last = torch.zeros(parameters * D, len(below), dtype=torch.bool)
    for i in range(D):
        for p in range(parameters):
            for b, degree in enumerate(below):
                last[parameters * i + p, b] = place[i] > degree
    return masks + [last]
