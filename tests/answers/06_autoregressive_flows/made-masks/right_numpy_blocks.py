import numpy as np


def made_masks(order, hidden, parameters=1, context=0):
    """In numpy, with degrees by whole-number division, counted from above."""
    order = np.asarray(order)
    D = order.size
    if not np.array_equal(np.sort(order), np.arange(D)):
        raise ValueError("not an order")
    place = np.empty(D, dtype=int)
    place[order] = np.arange(D)
    seen = np.concatenate([place + 1, np.zeros(context, dtype=int)])
    values = np.arange(0 if context else 1, D)[::-1] if D > 1 else np.array([0])
    masks = []
    for units in hidden:
        degrees = values[np.arange(units) * len(values) // units]
        masks.append(torch.from_numpy(np.greater_equal.outer(degrees, seen)))
        seen = degrees
    masks.append(torch.from_numpy(np.kron(np.greater.outer(place + 1, seen), np.ones((parameters, 1))).astype(bool)))
    return masks
