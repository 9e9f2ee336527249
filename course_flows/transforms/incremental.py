"""The inverse of an autoregressive layer for about the price of one pass: what is known is multiplied once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, repeat

import torch
from torch import Tensor, nn

from course_flows.made import MADE, Stage
from course_flows.masked_linear import MaskedLinear, Strip, StripedLinear
from course_flows.transforms.coupling import Tanh

__all__ = ["solve_incrementally"]

# FEW: up to so many values that one coordinate adds to the largest layer, all points counted, an operation costs mostly
# its start, and a block is solved at once. TOGETHER: coordinates of such a block. IN_CACHE: new values of other blocks,
# which then stay in the cache.
FEW, TOGETHER, IN_CACHE = 600, 48, 90_000


@torch.no_grad()
def solve_incrementally(net: MADE, bound: nn.Module, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Return x ``(*batch, D)`` with :math:`z_i = (x_i - \mu_i) e^{-\alpha_i}`, and :math:`\sum_i \alpha_i`.

    Hidden units are sorted by degree, and the coordinates are found block by block in the order of the network. What
    the coordinates and units before a block send into it is computed once, for the whole block; so all blocks together
    use each weight outside of small squares once, O(weights) a point. What remains inside of a block is small:

    * many points: coordinate by coordinate, each unit computed as soon as the coordinates that it sees are known;
    * few points, for which starting an operation costs more than the operation: the whole block again and again until
      nothing changes. After pass i its first i coordinates are final, so that it ends, and mostly much earlier.

    Both are exact up to rounding.

    Arguments:
        net: a `MADE` with two parameters a value.
        bound: of the raw :math:`\alpha`; does the same to each number, as it meets them in another layout.
        z: ``(*batch, D)``.
        context: ``(*batch, C)``, or with 1 or nothing in the place of batch dimensions.
    """
    d, order = net.features, net.order
    if net.context is None and context is not None:
        raise ValueError(f"MADE expects no context, found one of shape {tuple(context.shape)}")
    points = z.reshape(-1, d).T.index_select(0, order)  # (D, N), in the order of the network
    added_by_each = points.shape[1] * max(1.0, max(map(len, net.degrees[1:]), default=0) / d)
    few = added_by_each <= FEW
    size = TOGETHER if few else max(8, int(IN_CACHE / added_by_each))
    added = None
    if net.context is not None:
        added = net.of_context(context).expand(*z.shape[:-1], -1).reshape(points.shape[1], -1).T
    solver = _Solver(net, bound, points, size, added)
    for start in range(0, d, solver.size):
        block = slice(start, min(start + solver.size, d))
        if not few or not solver.together(block):
            solver.in_turn(block)
    return solver.values[0][1:].T.reshape(z.shape), solver.alphas.sum(dim=0).reshape(z.shape[:-1])


class _Solver:
    """What is known so far: coordinates, and activations of hidden units, ``(1 + units, N)`` below a row of ones."""

    def __init__(self, net: MADE, bound: nn.Module, points: Tensor, size: int, added: Tensor | None) -> None:
        *self.hidden, last = net.stages()
        self.points, self.order, self.residual, self.size = points, net.order, net.residual, size
        self.activate, self.limit = _activate(net.activation), _limit(bound, points)
        *of_hidden, of_last = [added, *[None] * len(self.hidden)]
        self.layers = [_Rows(stage.layer, of_layer) for stage, of_layer in zip(self.hidden, of_hidden)]
        self.last = _Rows(last.layer, of_last, self.order.split(size))
        sizes = [1 + len(degrees) for degrees in net.degrees]
        self.values = points.new_empty(sum(sizes), points.shape[1]).split(sizes)  # in one piece: allocators keep it
        self.values[0].zero_()
        for v in self.values:
            v[0] = 1
        self.alphas = torch.empty_like(points)
        # for each hidden layer and each k, how many units see fewer than k coordinates
        self.below = [[0, *torch.bincount(g, minlength=len(points)).cumsum(0).tolist()] for g in net.degrees[1:]]

    def together(self, block: slice) -> bool:
        """Find the coordinates of a block at once; return False where values overflowed before they were final."""
        units = self._new_units(block)
        sums = [torch.empty_like(v) for v in units]
        weights, moves = self._meet(block, sums)
        target, alpha, x = self.points[block], self.alphas[block], torch.zeros_like(self.points[block])
        raw, mu = (found := torch.empty_like(moves)).chunk(2)
        for _ in range(len(x)):
            skipped, source = None, x
            for stage, weight, total, v in zip(self.hidden, weights, sums, units):
                torch.addmm(total, weight, source, out=v)
                if self.residual:
                    skipped = _skip(stage, v, skipped)
                source = self.activate(v)
            torch.addmm(moves, weights[-1], source, out=found)
            self.limit(raw, alpha)
            before, x = x, torch.addcmul(mu, target, alpha.exp())
            if torch.equal(before, x):
                break
        final = bool(x.isfinite().all())
        if final:
            self._keep(block, x)
        return final

    def in_turn(self, block: slice) -> None:
        """Find the coordinates of a block one after the other."""
        units = self._new_units(block)
        weights, moves = self._meet(block, units)  # units not reached yet hold sums, which zeros of weights meet
        x = self.points[block]  # in place; zeros of weights meet those not reached yet
        layers, sources = [], [x, *units]
        for below, weight, v in zip(self.below, weights, units):
            sizes = [b - a for a, b in pairwise(below[block.start : block.stop + 1])]
            layers.append(zip(weight.split(sizes), v.split(sizes)))
        of_units = zip(*layers) if layers else repeat(())
        of_move = [part.view(2, len(x), -1).unbind(1) for part in (weights[-1], moves)]
        rows = (part.unbind() for part in (*moves.chunk(2), x))
        for parts, weight, move, alpha, mu, found in zip(of_units, *of_move, *rows):
            skipped = None
            for stage, (of_unit, v), source in zip(self.hidden, parts, sources):
                v.addmm_(of_unit, source)
                if self.residual:
                    skipped = _skip(stage, v, skipped)
                self.activate(v)
            move.addmm_(weight, sources[-1])
            self.limit(alpha, alpha)
            torch.addcmul(mu, found, alpha.exp(), out=found)
        self.alphas[block] = moves[: len(x)]
        self._keep(block, x)

    def _new_units(self, block: slice) -> list[Tensor]:
        """Return the units of each hidden layer that a block adds: those that see some of it, but not all."""
        return [v[1 + b[block.start] : 1 + b[block.stop]] for v, b in zip(self.values[1:], self.below)]

    def _keep(self, block: slice, x: Tensor) -> None:
        self.values[0].index_copy_(0, 1 + self.order[block], x)

    def _meet(self, block: slice, sums: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Multiply all that is known into `sums` of new units and into the moves; return weights and moves."""
        place = self.order[block]
        low, high = int(place.min()), int(place.max()) + 1
        columns, known, weights = slice(low, high), len(self.order), []
        for layer, v, below, out in zip(self.layers, self.values, self.below, sums):
            rows = slice(below[block.start], below[block.stop])
            layer.multiply(rows, v, known, out)
            weights.append(layer.square(rows, columns))
            columns, known = rows, rows.start
        moves = self.points.new_empty(2 * len(place), self.points.shape[1])
        if not self.last.strips:
            rows = slice(2 * block.start, 2 * block.stop)
            self.last.multiply(rows, self.values[-1], known, moves)
            weights.append(self.last.square(rows, columns))
        else:
            parts = []
            for base, out in zip((0, len(self.order)), moves.chunk(2)):
                rows = slice(base + low, base + high)
                found = self.points.new_empty(high - low, self.points.shape[1])
                self.last.multiply(rows, self.values[-1], known, found)
                torch.index_select(found, 0, place - low, out=out)
                parts.append(self.last.square(rows, columns).index_select(0, place - low))
            weights.append(torch.cat(parts))
        weights[0] = weights[0].index_select(1, place - low)
        return weights, moves


class _Rows:
    """The weights of a layer, some rows at a time; what a context adds belongs to them."""

    def __init__(
        self,
        layer: MaskedLinear | StripedLinear,
        added: Tensor | None,
        blocks: Sequence[Tensor] = (),
    ) -> None:
        self.added = added
        self.strips: tuple[Strip, ...] = ()
        if isinstance(layer, StripedLinear):
            self.bias, self.height, self.strips = layer.bias[:, None], layer.height, layer.strips
            self.stored = layer.blocks(layer.ready(layer.weight))
            return
        self.weight = layer.bias.new_empty(len(layer.bias), 1 + layer.weight.shape[1])
        self.weight[:, 0] = layer.bias
        torch.mul(layer.weight, layer.there, out=self.weight[:, 1:])
        if blocks:
            d = len(self.weight) // 2
            place = torch.cat([part for block in blocks for part in (block, d + block)])
            self.weight = self.weight.index_select(0, place)
            self.added = None if added is None else added.index_select(0, place)

    def _rows(self, rows: slice) -> Iterator[tuple[slice, slice, Tensor]]:
        for k in range(rows.start // self.height, -(-rows.stop // self.height)):
            strip, block = self.strips[k], self.stored[k]
            start = strip.rows.start
            a, b = max(rows.start, start), min(rows.stop, strip.rows.stop)
            yield slice(a - rows.start, b - rows.start), strip.columns, block[a - start : b - start]

    def multiply(self, rows: slice, v: Tensor, known: int, out: Tensor) -> None:
        """Write what some rows get from values that are known, the first ones or all, with bias and context."""
        if not self.strips:
            torch.mm(self.weight[rows, : 1 + known], v[: 1 + known], out=out)
        else:
            bias = self.bias[rows]
            for here, columns, block in self._rows(rows):
                seen = slice(columns.start, min(columns.stop, known))
                source = v[1 + seen.start : 1 + seen.stop]
                torch.addmm(bias[here], block[:, : len(source)], source, out=out[here])
        if self.added is not None:
            out += self.added[rows]

    def square(self, rows: slice, columns: slice) -> Tensor:
        """Return some weights."""
        if not self.strips:
            return self.weight[rows, 1 + columns.start : 1 + columns.stop]
        found = self.bias.new_zeros(rows.stop - rows.start, columns.stop - columns.start)
        for here, has, block in self._rows(rows):
            a, b = max(columns.start, has.start), min(columns.stop, has.stop)
            if a < b:
                found[here, a - columns.start : b - columns.start] = block[:, a - has.start : b - has.start]
        return found


def _skip(stage: Stage, v: Tensor, skipped: Tensor | None) -> Tensor | None:
    """Add to sums what a residual pair adds at its end; return what the next one adds."""
    if stage.skips == 1:
        assert skipped is not None
        v += skipped
    return skipped if stage.skips == 2 else v.clone()


def _activate(activation: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the activation, written over its input."""
    return torch.relu_ if isinstance(activation, nn.ReLU) else lambda v: v.copy_(activation(v))


def _limit(bound: nn.Module, points: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the bound, written to its second argument."""
    if type(bound) is not Tanh:
        return lambda raw, out: out.copy_(bound(raw))
    c = points.new_full(points.shape[1:], bound.limit)  # one for each point: a product with a number takes longer
    return lambda raw, out: torch.div(raw, c, out=out).tanh_().mul_(c)
