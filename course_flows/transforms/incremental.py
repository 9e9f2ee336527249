"""The inverse of an autoregressive layer for about the price of one pass: what is known is multiplied once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from course_flows.made import MADE, Stage
from course_flows.transforms.coupling import Tanh
from course_flows.transforms.packed_weights import DenseWeights, in_blocks, packed

__all__ = ["Solver"]

# FEW: up to so many values that one coordinate adds to the largest layer, all points counted, an operation costs mostly
# its start, and a block is solved at once. TOGETHER: new values of such a block, which is of MIN to MAX coordinates.
# IN_CACHE: new values of other blocks, which then stay in the cache. All as measured.
FEW, TOGETHER, MIN, MAX, IN_CACHE = 600, 4_800, 32, 100, 90_000
WORTH_KEEPING = 2**20  # values and weights


class Solver:
    r"""Finds x with :math:`z_i = (x_i - \mu_i) e^{-\alpha_i}` for as many points as `z` has.

    Hidden units are sorted by degree, and the coordinates are found block by block in the order of the network. What
    the coordinates and units before a block send into it is computed once, for the whole block; so all blocks together
    use each weight outside of small squares once, O(weights) a point. What remains inside of a block is small:

    * many points: coordinate by coordinate, each unit computed as soon as the coordinates that it sees are known;
    * few points, for which starting an operation costs more than the operation: the whole block again and again until
      nothing changes. After pass i its first i coordinates are final, so that it ends, and mostly much earlier.

    Both are exact up to rounding. Weights that are packed and views that are made serve again as long as the solver
    `fits`: they are a third of the time of a call.

    Arguments:
        net: a `MADE` with two parameters a value.
        bound: of the raw :math:`\alpha`; does the same to each number, as it meets them in another layout.
        z: ``(*batch, D)``; what counts is how many points it has, its dtype and its device.
    """

    @torch.no_grad()
    def __init__(self, net: MADE, bound: nn.Module, z: Tensor) -> None:
        d, order, count = net.features, net.order, z.shape[:-1].numel()
        self.net, self.bound, self.order, self.residual = net, bound, order, net.residual
        added_by_each = count * max(1.0, max(map(len, net.degrees[1:]), default=0) / d)
        self.few = added_by_each <= FEW
        if self.few:
            most = max(MIN, min(MAX, int(TOGETHER / max(1.0, added_by_each))))
            size = -(-d // -(-d // most))  # as many blocks, but equal ones, whose edges are more often those of strips
        else:
            size = max(8, int(IN_CACHE / added_by_each))
        # what is known so far, coordinates and activations of hidden units, below a row of ones
        sizes = [1 + len(degrees) for degrees in net.degrees]
        self.values = z.new_empty(sum(sizes), count).split(sizes)  # in one piece: allocators keep it
        for v in self.values:
            v[0] = 1
        self.points, self.alphas = z.new_empty(d, count), z.new_empty(d, count)  # in the order of the network
        *self.stages, _ = net.stages()
        self.activate, self.limit = _activate(net.activation), _limit(bound, self.points)
        self.weights = [packed(stage.layer) for stage in net.stages()]
        if isinstance(self.weights[-1], DenseWeights):
            self.weights[-1].arrange(in_blocks(order.split(size), d))
        # for each hidden layer and each k, how many units see fewer than k coordinates
        self.below = [[0, *torch.bincount(g, minlength=d).cumsum(0).tolist()] for g in net.degrees[1:]]
        self.slices = [slice(start, min(start + size, d)) for start in range(0, d, size)]
        self.kept: list[Tensor] = []
        self.blocks: list[_Block] = []
        if self.is_worth_keeping:
            self.blocks = [_Block(self, block) for block in self.slices]
            self.others, self.kept = self._others(), [p.detach().clone() for p in self._weights()]

    @property
    def is_worth_keeping(self) -> bool:
        """Whether it is small, and all its weights are copies: who changes the network does not change them."""
        dense = [weights.weight for weights in self.weights if isinstance(weights, DenseWeights)]
        small = sum(v.numel() for v in (*self.values, *dense)) <= WORTH_KEEPING
        return small and len(dense) == len(self.weights)

    def _weights(self) -> list[Tensor]:
        return [p for stage in self.net.stages() for p in (stage.layer.weight, stage.layer.bias)]

    def _others(self) -> list[object]:
        """What else decides the result: masks are buffers of the layers, and others take their place."""
        masks = [mask for stage in self.net.stages() for mask in stage.layer.buffers()]
        return [*masks, self.net.activation, getattr(self.bound, "limit", None)]

    def fits(self, net: MADE, bound: nn.Module, z: Tensor) -> bool:
        """Return whether there are as many points of the same kind, and nothing in the network has changed."""
        if net is not self.net or bound is not self.bound or z.shape[:-1].numel() != self.points.shape[1]:
            return False
        if (z.dtype, z.device) != (self.points.dtype, self.points.device):
            return False
        if self.points.is_inference() and not torch.is_inference_mode_enabled():
            return False
        weights, others = self._weights(), self._others()
        if len(weights) != len(self.kept) or any(a is not b for a, b in zip(self.others, others)):
            return False
        return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in zip(self.kept, weights))

    @torch.no_grad()
    def solve(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        r"""Return x ``(*batch, D)`` and :math:`\sum_i \alpha_i`.

        Arguments:
            z: ``(*batch, D)``.
            context: ``(*batch, C)``, or with 1 or nothing in the place of batch dimensions.
        """
        d, count = self.points.shape
        added = None
        if self.net.context is not None:
            added = self.net.of_context(context)
            added = added.expand(*z.shape[:-1], added.shape[-1]).reshape(count, added.shape[-1]).T
        torch.index_select(z.reshape(-1, d).T, 0, self.order, out=self.points)
        self.values[0][1:] = 0  # weights of the first layer meet what is not known yet
        for block in self.blocks or (_Block(self, block) for block in self.slices):
            if not self.few or not block.together(added):
                block.in_turn(added)
        x = self.values[0][1:].T.clone(memory_format=torch.contiguous_format)
        return x.view(z.shape), self.alphas.sum(dim=0).reshape(z.shape[:-1])


class _Block:
    """Some coordinates, neighbors in the order of the network, and the hidden units that see some, but not all of them.

    Values of units are views of those of the solver; squares are the weights between what belongs to the block.
    """

    def __init__(self, solver: Solver, block: slice) -> None:
        self.solver, self.block, self.place = solver, block, solver.order[block]
        self.x, self.alpha = solver.points[block], solver.alphas[block]
        low, high = int(self.place.min()), int(self.place.max()) + 1
        self.rows = [slice(below[block.start], below[block.stop]) for below in solver.below]
        self.units = [v[1 + r.start : 1 + r.stop] for v, r in zip(solver.values[1:], self.rows)]
        # found at once, units change from pass to pass; what meets them from outside must not
        self.sums = [torch.empty_like(v) for v in self.units] if solver.few else self.units
        self.moves = self.x.new_empty(2 * len(self.x), self.x.shape[1])
        self.here, self.between = self.place - low, high - low
        self.multiply(low)
        self.narrow = solver.is_worth_keeping
        self.steps = list(self._steps()) if self.narrow and not solver.few else []

    def multiply(self, low: int) -> None:
        """Prepare the products with all that is known before, and the squares."""
        order, values = self.solver.order, self.solver.values
        *inside, last = self.solver.weights
        columns = [slice(low, low + self.between), *self.rows]
        known = [len(order), *(r.start for r in self.rows)]
        parts = zip(inside, self.rows, values, known, self.sums)
        self.products = [product for w, r, v, k, out in parts for product in w.products(r, v, k, out)]
        self.squares = [w.square(r, c) for w, r, c in zip(inside, self.rows, columns)]
        self.gathered: list[tuple[Tensor, Tensor]] = []
        if isinstance(last, DenseWeights):
            rows = slice(2 * self.block.start, 2 * self.block.stop)
            self.products += last.products(rows, values[-1], known[-1], self.moves)
            self.squares.append(last.square(rows, columns[-1]))
        else:  # of both parameters of all coordinates between the first and the last of the block it takes its own
            squares = []
            for start, out in zip((low, len(order) + low), self.moves.chunk(2)):
                rows, found = slice(start, start + self.between), out.new_empty(self.between, out.shape[1])
                self.products += last.products(rows, values[-1], known[-1], found)
                self.gathered.append((found, out))
                squares.append(last.square(rows, columns[-1]).index_select(0, self.here))
            self.squares.append(torch.cat(squares))
        self.squares[0] = self.squares[0].index_select(1, self.here)

    def _steps(self) -> Iterator[tuple[Any, ...]]:
        """Yield what each coordinate of the block takes: units that see no later ones, then its move."""
        count, sources, layers = len(self.x), [self.x, *self.units], []
        seen = [list(range(count))]
        for v, square, below in zip(self.units, self.squares, self.solver.below):
            starts = below[self.block.start : self.block.stop + 1]
            sizes = [b - a for a, b in pairwise(starts)]
            seen.append([stop - starts[0] for stop in starts[1:]])
            layers.append(zip(v.split(sizes), square.split(sizes)))
        moves, weights = (part.view(2, count, -1).unbind(1) for part in (self.moves, self.squares[-1]))
        layers.append(zip(moves, weights))
        rows = (part.unbind() for part in (*self.moves.chunk(2), self.x))
        for of_layers, known, alpha, mu, x in zip(zip(*layers), zip(*seen), *rows):
            parts = [(v, weight, source) for (v, weight), source in zip(of_layers, sources)]
            if self.narrow:  # without what is not known yet, which meets zeros otherwise
                parts = [(v, weight[:, :k], source[:k]) for (v, weight, source), k in zip(parts, known)]
            yield parts[:-1], parts[-1], alpha, mu, x

    def together(self, added: Tensor | None) -> bool:
        """Find the coordinates at once; return False where values overflowed before they were final."""
        self._meet(added)
        solver, x = self.solver, torch.zeros_like(self.x)
        raw, mu = (found := torch.empty_like(self.moves)).chunk(2)
        for _ in range(len(x)):
            skipped, source = None, x
            for stage, weight, total, v in zip(solver.stages, self.squares, self.sums, self.units):
                torch.addmm(total, weight, source, out=v)
                if solver.residual:
                    skipped = _skip(stage, v, skipped)
                source = solver.activate(v)
            torch.addmm(self.moves, self.squares[-1], source, out=found)
            solver.limit(raw, self.alpha)
            before, x = x, torch.addcmul(mu, self.x, self.alpha.exp())
            if torch.equal(before, x):
                break
        final = bool(x.isfinite().all())
        if final:
            self._keep(x)
        return final

    def in_turn(self, added: Tensor | None) -> None:
        """Find the coordinates one after the other."""
        self._meet(added)
        solver = self.solver
        for v, total in zip(self.units, self.sums):
            if v is not total:
                v.copy_(total)
        for parts, of_move, alpha, mu, x in self.steps or self._steps():
            skipped = None
            for stage, (v, weight, source) in zip(solver.stages, parts):
                v.addmm_(weight, source)
                if solver.residual:
                    skipped = _skip(stage, v, skipped)
                solver.activate(v)
            move, weight, source = of_move
            move.addmm_(weight, source)
            solver.limit(alpha, alpha)
            torch.addcmul(mu, x, alpha.exp(), out=x)
        self.alpha.copy_(self.moves[: len(self.x)])
        self._keep(self.x)

    def _meet(self, added: Tensor | None) -> None:
        """Multiply all that is known into sums of units and moves."""
        for product in self.products:
            product.compute()
        for found, out in self.gathered:
            torch.index_select(found, 0, self.here, out=out)
        if added is not None:
            first = self.sums[0] if self.sums else self.moves
            first += added[self.rows[0] if self.units else in_blocks([self.place], len(self.solver.order))]

    def _keep(self, x: Tensor) -> None:
        self.solver.values[0].index_copy_(0, 1 + self.place, x)


def _skip(stage: Stage, v: Tensor, skipped: Tensor | None) -> Tensor | None:
    """Add to sums what a residual pair adds at its end; return what the next one adds."""
    if stage.skips == 1:
        assert skipped is not None
        v += skipped
    return skipped if stage.skips == 2 else v.clone()


def _activate(activation: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the activation, written over its input."""
    return torch.relu_ if type(activation) is nn.ReLU else lambda v: v.copy_(activation(v))


def _limit(bound: nn.Module, points: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the bound, written to its second argument."""
    if type(bound) is not Tanh:
        return lambda raw, out: out.copy_(bound(raw))
    c = points.new_full(points.shape[1:], bound.limit)  # one for each point: a product with a number takes longer
    return lambda raw, out: torch.div(raw, c, out=out).tanh_().mul_(c)
