"""The inverse of an autoregressive layer for the price of one pass: each hidden unit is computed once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_flows.made import MADE

__all__ = ["solve_incrementally"]


@torch.no_grad()
def solve_incrementally(net: MADE, bound: nn.Module, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Return x ``(*batch, D)`` with :math:`z_i = (x_i - \mu_i) e^{-\alpha_i}`, and :math:`\sum_i \alpha_i`.

    Hidden units are sorted by degree. Once the k-th coordinate is known, the units of degree k can be computed, layer
    by layer, from units of degree at most k; they are all that coordinate k + 1 needs beside what is there already.
    So the network's weights are used once, O(weights) a point in D steps, and the result is exact up to rounding.

    Arguments:
        net: a `MADE` with two parameters a value.
        bound: of the raw :math:`\alpha`.
        z: ``(*batch, D)``.
        context: ``(*batch, C)``, or with 1 or nothing in the place of batch dimensions.
    """
    d, order = net.features, net.order
    points = z.reshape(-1, d).T[order]  # (D, N), in the order of the network: what belongs together lies together
    columns = points.shape[1]
    x, alphas = torch.empty_like(points), torch.empty_like(points)
    *hidden, last = net.stages()
    added = None
    if net.context is not None:
        added = net.of_context(context).expand(*z.shape[:-1], -1).reshape(columns, -1).T
    elif context is not None:
        raise ValueError(f"MADE expects no context, found one of shape {tuple(context.shape)}")

    # weights with inputs and outputs in that order, and for each degree how many units have at most this degree
    counts = [torch.arange(d + 1).tolist()]
    counts += [torch.bincount(g, minlength=d + 1).cumsum(0).tolist() for g in net.degrees[1:]]
    weights = [stage.layer.masked_weight() for stage in hidden]
    if weights:
        weights[0] = weights[0][:, order]
    of_last = last.layer.masked_weight().unflatten(0, (2, d))[:, order].transpose(0, 1).contiguous()  # (D, 2, units)
    biases = last.layer.bias.unflatten(0, (2, d))[:, order].T[:, :, None]  # (D, 2, 1)
    if not hidden:
        of_last = of_last[:, :, order]
        if added is not None:
            biases = biases + added.unflatten(0, (2, d))[:, order].transpose(0, 1)
    sums = [points.new_empty(len(w), columns) for w in weights]
    active = [x] + [torch.empty_like(s) for s in sums]

    def fill(low: int, k: int) -> None:
        """Compute the hidden units of degree `low` to `k`."""
        for n, (stage, w) in enumerate(zip(hidden, weights)):
            a = 0 if low == 0 else counts[n + 1][low - 1]
            b, known = counts[n + 1][k], counts[n][k]
            if a == b:
                continue
            sums[n][a:b] = torch.addmm(stage.layer.bias[a:b, None], w[a:b, :known], active[n][:known])
            if n == 0 and added is not None:
                sums[n][a:b] += added[a:b]
            if stage.skips == 1:
                sums[n][a:b] += sums[n - 2][a:b]
            active[n + 1][a:b] = net.activation(sums[n][a:b])

    for k in range(d):
        fill(k, k)
        known = counts[-1][k]
        raw, mu = torch.addmm(biases[k], of_last[k, :, :known], active[-1][:known])
        alphas[k] = bound(raw)
        x[k] = mu + points[k] * alphas[k].exp()
    place = order.argsort()
    return x[place].T.reshape(z.shape), alphas.sum(dim=0).reshape(z.shape[:-1])
