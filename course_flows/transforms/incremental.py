"""The inverse of an autoregressive layer for the price of one pass: each hidden unit is computed once."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from course_flows.made import MADE
from course_flows.transforms.coupling import Tanh

__all__ = ["solve_incrementally"]


@torch.no_grad()
def solve_incrementally(net: MADE, bound: nn.Module, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Return x ``(*batch, D)`` with :math:`z_i = (x_i - \mu_i) e^{-\alpha_i}`, and :math:`\sum_i \alpha_i`.

    Hidden units are sorted by degree. Once the k-th coordinate is known, the units of degree k can be computed, layer
    by layer, from units of degree at most k; they are all that coordinate k + 1 needs beside what is there already.
    So the network's weights are used once, O(weights) a point in D steps, and the result is exact up to rounding.

    A step is a few small products, so that everything around them counts: the values of a unit lie side by side,
    ``(units, N)``, below a row of ones that takes the biases; products go to where they are wanted; and weights are
    packed, and views of values made, for a stretch of steps at once. What is not yet known is zero there.

    Arguments:
        net: a `MADE` with two parameters a value.
        bound: of the raw :math:`\alpha`.
        z: ``(*batch, D)``.
        context: ``(*batch, C)``, or with 1 or nothing in the place of batch dimensions.
    """
    d, order = net.features, net.order
    stretch = max(16, d // 24)
    points = z.reshape(-1, d).T.index_select(0, order)  # (D, N), in the order of the network: neighbors lie together
    columns = points.shape[1]

    # weights, with inputs in that order, and biases; the first layer's include those of the context
    *hidden, last = net.stages()
    weights = [stage.layer.masked_weight() for stage in (*hidden, last)]
    weights[0] = weights[0].index_select(1, order)
    biases = [stage.layer.bias[:, None] for stage in (*hidden, last)]
    if net.context is not None:
        biases[0] = torch.cat([net.context.weight, biases[0]], dim=1)
    elif context is not None:
        raise ValueError(f"MADE expects no context, found one of shape {tuple(context.shape)}")

    # what each layer looks at: context, ones, then what is known of x, or of the units before
    tops = [bias.shape[1] for bias in biases]
    values = [points.new_zeros(top + size, columns) for top, size in zip(tops, [d, *map(len, weights)])]
    for v, top in zip(values, tops):
        v[top - 1] = 1
    if net.context is not None:
        net.of_context(context)  # says what is wrong with it
        assert context is not None
        values[0][: tops[0] - 1] = context.expand(*z.shape[:-1], -1).reshape(columns, -1).T

    # for each degree, how many units have at most this one
    counts = [torch.bincount(degrees, minlength=d + 1).cumsum(0).tolist() for degrees in net.degrees]
    activate, limit = _activate(net.activation), _limit(bound)
    move = points.new_empty(2, columns)
    raw, mu = move
    alphas = torch.empty_like(points)
    for start in range(0, d, stretch):
        here = slice(start, min(start + stretch, d))
        widths = [count[here.stop - 1] for count in counts]
        known = [v[: top + width] for v, top, width in zip(values, tops, widths)]
        of_units, units = [], []  # for each layer and degree
        for n, count in enumerate(counts[1:]):
            ends = [count[k - 1] if k else 0 for k in range(start, here.stop + 1)]
            new, sizes = slice(ends[0], ends[-1]), [b - a for a, b in pairwise(ends)]
            of_units.append(torch.cat([biases[n][new], weights[n][new, : widths[n]]], dim=1).split(sizes))
            units.append(values[n + 1][tops[n + 1] :][new].split(sizes))
        rows = torch.stack([order[here], d + order[here]], dim=1).flatten()  # raw and mu of each coordinate
        of_moves = [part.index_select(0, rows) for part in (biases[-1], weights[-1][:, : widths[-1]])]
        of_move = torch.cat(of_moves, dim=1).split(2)
        x, target, alpha = (v[here].unbind() for v in (values[0][tops[0] :], points, alphas))
        skipped = move  # the sums at which a residual pair begins, once there are any
        for k in range(len(x)):
            for stage, w, v, source in zip(hidden, of_units, units, known):
                total = torch.mm(w[k], source, out=v[k])
                if stage.skips == 1:
                    total += skipped
                if net.residual and stage.skips != 2:
                    skipped = total.clone()
                activate(total)
            torch.mm(of_move[k], known[-1], out=move)
            limit(raw, alpha[k])
            torch.addcmul(mu, target[k], alpha[k].exp(), out=x[k])
    place = order.argsort()
    found = values[0][tops[0] :].index_select(0, place)
    return found.T.reshape(z.shape), alphas.sum(dim=0).reshape(z.shape[:-1])


def _activate(activation: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the activation, written over its input."""
    return torch.relu_ if isinstance(activation, nn.ReLU) else lambda v: v.copy_(activation(v))


def _limit(bound: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the bound, written to its second argument."""
    if isinstance(bound, Tanh):
        return lambda raw, out: torch.div(raw, bound.limit, out=out).tanh_().mul_(bound.limit)
    return lambda raw, out: out.copy_(bound(raw))
