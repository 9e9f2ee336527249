"""The weights of a MADE's layer, some rows and columns at a time, as its inverse needs them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from course_flows.masked_linear import SMALL, MaskedLinear, StripedLinear

__all__ = ["DenseWeights", "Product", "StripedWeights", "packed"]


class Product:
    """``out = bias + weight @ source``, to be computed whenever the source has changed.

    Arguments:
        weight, source, out: ``(m, k)``, ``(k, N)``, ``(m, N)``.
        bias: ``(m, 1)``, or None where it is a column of `weight`, and a row of `source` holds ones.
    """

    def __init__(self, weight: Tensor, source: Tensor, out: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.source, self.out, self.bias = weight, source, out, bias

    def compute(self) -> None:
        """Write to `out`."""
        if self.bias is None:
            torch.mm(self.weight, self.source, out=self.out)
        else:
            torch.addmm(self.bias, self.weight, self.source, out=self.out)


def packed(layer: MaskedLinear | StripedLinear) -> DenseWeights | StripedWeights:
    """Return the weights of a layer; large ones in strips stay where they are."""
    if isinstance(layer, StripedLinear) and len(layer.weight) > SMALL:
        return StripedWeights(layer)
    return DenseWeights(layer)


class DenseWeights:
    """A copy of the weights, with zeros where there are none, right of the bias.

    Arguments:
        layer: whose weights.
    """

    def __init__(self, layer: MaskedLinear | StripedLinear) -> None:
        self.weight = layer.bias.new_empty(layer.out_features, 1 + layer.in_features)
        self.weight[:, 0] = layer.bias
        self.weight[:, 1:] = layer.masked_weight()

    def arrange(self, place: Tensor) -> None:
        """Take the rows in another order."""
        self.weight = self.weight.index_select(0, place)

    def products(self, rows: slice, values: Tensor, known: int, out: Tensor) -> list[Product]:
        """Return what gives some rows of the output from the first, known inputs; `values` has a row of ones first."""
        return [Product(self.weight[rows, : 1 + known], values[: 1 + known], out)]

    def square(self, rows: slice, columns: slice) -> Tensor:
        """Return the weights of some rows and columns."""
        return self.weight[rows, 1 + columns.start : 1 + columns.stop]


class StripedWeights:
    """The same of a layer that stores its weights in strips, without a copy.

    Arguments:
        layer: whose weights.
    """

    def __init__(self, layer: StripedLinear) -> None:
        self.strips, self.height = layer.strips, layer.height
        self.stored, self.bias = layer.blocks(layer.ready(layer.weight)), layer.bias.detach()[:, None]

    def products(self, rows: slice, values: Tensor, known: int, out: Tensor) -> list[Product]:
        """Return what gives some rows of the output from the first, known inputs; `values` has a row of ones first."""
        found = []
        for own, here, columns, block in self._parts(rows):
            width = max(0, min(columns.stop, known) - columns.start)
            source = values[1 + columns.start : 1 + columns.start + width]
            found.append(Product(block[:, :width], source, out[here], self.bias[own]))
        return found

    def square(self, rows: slice, columns: slice) -> Tensor:
        """Return the weights of some rows and columns."""
        found = self.bias.new_zeros(rows.stop - rows.start, columns.stop - columns.start)
        for _, here, has, block in self._parts(rows):
            a, b = max(columns.start, has.start), min(columns.stop, has.stop)
            if a < b:
                found[here, a - columns.start : b - columns.start] = block[:, a - has.start : b - has.start]
        return found

    def _parts(self, rows: slice) -> Iterator[tuple[slice, slice, slice, Tensor]]:
        """Yield the parts of strips that lie in some rows: their rows, which of these they are, columns, weights."""
        for k in range(rows.start // self.height, -(-rows.stop // self.height)):
            strip = self.strips[k]
            start = strip.rows.start
            a, b = max(rows.start, start), min(rows.stop, strip.rows.stop)
            here = slice(a - rows.start, b - rows.start)
            yield slice(a, b), here, strip.columns, self.stored[k][a - start : b - start]


def in_blocks(blocks: Sequence[Tensor], features: int) -> Tensor:
    """Return the rows of a layer with two parameters a value, block of coordinates after block, both parameters each.

    >>> in_blocks([torch.tensor([0, 2]), torch.tensor([1])], 3)
    tensor([0, 2, 3, 5, 1, 4])
    """
    return torch.cat([part for block in blocks for part in (block, features + block)])
