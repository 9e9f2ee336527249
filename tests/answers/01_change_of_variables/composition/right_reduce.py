from functools import reduce
from itertools import accumulate


def composed_log_density(x, inverses, base_log_prob):
    """Fold the list from its end; the state is the pair of point and collected log-determinant."""

    def undo(state, inverse):
        point, log_det = inverse(state[0])
        return point, state[1] + log_det

    z, log_det = reduce(undo, inverses[::-1], (x, torch.zeros_like(x[:, 0])))
    return base_log_prob(z) + log_det


def log_densities_along(z, steps, base_log_prob):
    """Fold the list from its start and keep every state."""

    def push(state, step):
        point, log_det = step(state[0])
        return point, state[1] - log_det

    states = list(accumulate(steps, push, initial=(z, base_log_prob(z))))
    return states[-1][0], torch.stack([log_p for _, log_p in states], dim=0)
