"""Linear layers without some of their weights: one that masks them, one that neither stores nor multiplies most."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_flows.calls import by_hand, gradients_of, has_values

__all__ = ["MaskedLinear", "StripedLinear", "room_like", "strips_of"]

SMALL = 2**17  # up to so many stored weights one product with a mask of all costs less than one for each edge

_split = torch.split_with_sizes  # Tensor.split takes twice as long


def room_like(points: Tensor, rows: int) -> Tensor:
    """Return memory for numbers ``(rows, N)`` in the order in which those of ``points (D, N)`` lie."""
    count = points.shape[1]
    return points.new_empty(count, rows).t() if points.stride(0) == 1 else points.new_empty(rows, count)


def _product(matrix: Tensor, points: Tensor) -> Tensor:
    """Return a product ``(rows, N)`` in the order in which the numbers of ``points (D, N)`` lie."""
    return torch.mm(points.t(), matrix.t()).t() if points.stride(0) == 1 else torch.mm(matrix, points)


class MaskedLinear(nn.Module):
    """A linear layer without some of its weights, ``(*batch, in) -> (*batch, out)``.

    Arguments:
        mask: bool ``(out, in)``, True for the weights that are there.

    The other entries of ``weight`` are never used, so that they get no gradient.
    """

    there: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = mask.shape
        plain = nn.Linear(self.in_features, self.out_features)
        self.weight, self.bias = plain.weight, plain.bias
        self.set_mask(mask)

    @property
    def mask(self) -> Tensor:
        """True for the weights that are there, ``(out, in)``."""
        return self.there.bool()

    def set_mask(self, mask: Tensor) -> None:
        """Take another mask of the same shape."""
        # as numbers of the weights' own kind: a product with booleans takes ten times as long
        self.register_buffer("there", mask.to(self.weight), persistent=False)

    def masked_weight(self, weight: Tensor | None = None) -> Tensor:
        """Return the weights, or others like them, with zeros where there are none, ``(out, in)``."""
        return (self.weight if weight is None else weight) * self.there

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.masked_weight(), self.bias)

    # The parts of a pass whose gradient is written by hand. Points are columns; what is returned for them lies in
    # memory as they do, point after point or row after row (`room_like`). `used` is what `ready` returned.

    def ready(self, weight: Tensor) -> Tensor:
        """Return weights in the form that products take."""
        return weight * self.there

    def product(self, x: Tensor, used: Tensor, bias: Tensor) -> Tensor:
        """Return the output."""
        return _product(used, x).add_(bias.unsqueeze(1))  # addmm writes the bias first, far from the cache

    def gradient_of_weight(self, g: Tensor, x: Tensor) -> Tensor:
        """Return the gradient of the weights from that of the output."""
        return torch.mm(g, x.t()).mul_(self.there)

    def gradient_of_input(self, g: Tensor, used: Tensor, onto: Tensor | None = None) -> Tensor:
        """Return the gradient of the input from that of the output; with `onto`, add it there."""
        return _product(used.t(), g) if onto is None else onto.addmm_(used.t(), g)

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, {int(self.there.sum())} weights"


@dataclass(frozen=True)
class Strip:
    """Some rows of a matrix of weights that is zero beside an interval of columns.

    Attributes:
        rows: the rows.
        columns: the interval.
        edge: the part of the interval, at one end of it, in which some weights are missing; counted within it.
    """

    rows: slice
    columns: slice
    edge: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the stored block."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start


def strips_of(mask: Tensor, height: int) -> tuple[Strip, ...] | None:
    """Cut the rows of a mask ``(out, in)`` into strips of `height`; None where one of them has no such form.

    >>> strips_of(torch.ones(4, 4).tril().bool(), 2)[1]
    Strip(rows=slice(2, 4, None), columns=slice(0, 4, None), edge=slice(3, 4, None))
    """
    strips = []
    for start in range(0, len(mask), height):
        rows = mask[start : start + height]
        some, every = _interval(rows.any(dim=0)), _interval(rows.all(dim=0))
        if some is None or every is None:
            return None
        width, left, right = some[1] - some[0], every[0] - some[0], some[1] - every[1]
        if every[0] == every[1]:
            edge = slice(0, width)
        elif left and right:
            return None
        else:
            edge = slice(0, left) if left else slice(width - right, width)
        strips.append(Strip(slice(start, start + len(rows)), slice(*some), edge))
    return tuple(strips)


def _interval(flags: Tensor) -> tuple[int, int] | None:
    """Return where flags are set, from and to; None where this is not one interval."""
    places = flags.nonzero().flatten().tolist()
    if not places:
        return 0, 0
    start, stop = places[0], places[-1] + 1
    return (start, stop) if stop - start == len(places) else None


class StripedLinear(nn.Module):
    """The same layer as `MaskedLinear` for masks with steps, such as those of sorted units, at half the cost.

    The rows are cut into strips, of which only the interval of columns with weights is stored, block after block in
    `weight`, and multiplied. Weights that are missing inside of an interval are kept at zero: each pass sees to it, so
    that no layer with another mask may share them. A new layer is that of a `MaskedLinear` from the same random
    numbers. Second derivatives work.

    Arguments:
        mask: bool ``(out, in)``, True for the weights that are there; in each strip, the columns with weights are an
            interval, and those with all weights nothing, the same interval, or one end of it.
        height: rows of a strip.

    Raises ValueError for other masks.
    """

    edges: Tensor

    def __init__(self, mask: Tensor, height: int) -> None:
        super().__init__()
        self.out_features, self.in_features = mask.shape
        self.height = height
        plain = nn.Linear(self.in_features, self.out_features)
        blocks = [plain.weight[strip.rows, strip.columns].flatten() for strip in self._cut(mask)]
        self.weight, self.bias = nn.Parameter(torch.cat(blocks).detach()), plain.bias
        self.set_mask(mask)

    def set_mask(self, mask: Tensor) -> None:
        """Take another mask of the same shape, with strips of the same size; ValueError for others."""
        self.strips = self._cut(mask)
        self.shapes = [strip.shape for strip in self.strips]
        self.sizes, self.heights = [a * b for a, b in self.shapes], [a for a, _ in self.shapes]
        if sum(self.sizes) != len(self.weight):
            raise ValueError(f"StripedLinear expects a mask for {len(self.weight)} weights, found {sum(self.sizes)}")
        self.full = next((k for k, (_, width) in enumerate(self.shapes) if width == self.in_features), None)
        if len(self.weight) <= SMALL:
            self.strips = tuple(replace(strip, edge=slice(0, strip.shape[1])) for strip in self.strips)
        edges = [mask[strip.rows, strip.columns][:, strip.edge] for strip in self.strips]
        self.edge_shapes, self.edge_sizes = [edge.shape for edge in edges], [edge.numel() for edge in edges]
        self.register_buffer("edges", torch.cat([edge.flatten() for edge in edges]).to(self.bias), persistent=False)

    def _cut(self, mask: Tensor) -> tuple[Strip, ...]:
        strips = strips_of(mask, self.height) if mask.shape == (self.out_features, self.in_features) else None
        if strips is None:
            raise ValueError(f"StripedLinear expects a mask in strips of {self.height} rows, found another one")
        return strips

    def blocks(self, stored: Tensor) -> list[Tensor]:
        """See stored numbers as the blocks of the strips."""
        return [part.view(shape) for part, shape in zip(_split(stored, self.sizes), self.shapes)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take weights that were saved as a matrix, too, as by a `MaskedLinear` of the same size."""
        weight = state_dict.get(f"{prefix}weight")
        if weight is not None and weight.shape == (self.out_features, self.in_features):
            parts = [weight[strip.rows, strip.columns].flatten() for strip in self.strips]
            state_dict = {**state_dict, f"{prefix}weight": torch.cat(parts)}
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _clear(self, stored: Tensor) -> None:
        """Put zeros where there are no weights."""
        if len(self.edges) == len(stored):
            stored.mul_(self.edges)
            return
        for strip, block, there in zip(self.strips, self.blocks(stored), self._masks()):
            block[:, strip.edge].mul_(there)

    def _masks(self) -> list[Tensor]:
        return [part.view(shape) for part, shape in zip(_split(self.edges, self.edge_sizes), self.edge_shapes)]

    def masked_weight(self, weight: Tensor | None = None) -> Tensor:
        """Return the weights, or others like them, with zeros where there are none, ``(out, in)``."""
        weight = self.weight if weight is None else weight
        full = weight.new_zeros(self.out_features, self.in_features)
        for strip, block, there in zip(self.strips, self.blocks(weight), self._masks()):
            full[strip.rows, strip.columns] = block
            full[strip.rows, strip.columns][:, strip.edge] *= there
        return full

    def forward(self, x: Tensor) -> Tensor:
        if not by_hand(x):
            return functional.linear(x, self.masked_weight(), self.bias)
        points = x.reshape(-1, self.in_features)
        return _Strips.apply(self, points, self.weight, self.bias).reshape(*x.shape[:-1], self.out_features)

    def ready(self, weight: Tensor) -> Tensor:
        """Return weights in the form that products take: stored strips, with zeros where there are none."""
        own = isinstance(weight, nn.Parameter) and not weight.is_inference()  # else somebody lends it for a call
        used = weight.data if own else weight.detach().clone()
        self._clear(used)  # behind the back of autograd: what an earlier pass saved is what it was
        return weight.detach() if own else used

    def product(self, x: Tensor, used: Tensor, bias: Tensor) -> Tensor:
        """Return the output."""
        out = room_like(x, self.out_features)
        for strip, block, here in zip(self.strips, self.blocks(used), _split(out, self.heights)):
            torch.mm(block, x[strip.columns], out=here)
        return out.add_(bias.unsqueeze(1))

    def gradient_of_weight(self, g: Tensor, x: Tensor) -> Tensor:
        """Return the gradient of the weights from that of the output."""
        found = x.new_empty(len(self.weight))
        for strip, block, here in zip(self.strips, self.blocks(found), _split(g, self.heights)):
            torch.mm(here, x[strip.columns].t(), out=block)
        self._clear(found)
        return found

    def gradient_of_input(self, g: Tensor, used: Tensor, onto: Tensor | None = None) -> Tensor:
        """Return the gradient of the input from that of the output; with `onto`, add it there."""
        blocks, rows, first = self.blocks(used), _split(g, self.heights), None
        if onto is None and self.full is not None:
            first = self.full  # a strip with all columns leaves nothing to clear
            onto = _product(blocks[first].t(), rows[first])
        elif onto is None:
            onto = room_like(g, self.in_features).zero_()
        for k, strip in enumerate(self.strips):
            if k != first:
                onto[strip.columns].addmm_(blocks[k].t(), rows[k])
        return onto

    def extra_repr(self) -> str:
        missing = int((self.edges == 0).sum())
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, {len(self.weight) - missing} weights in {len(self.strips)} strips"


class _Strips(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: StripedLinear, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.layer, used = layer, layer.ready(weight)
        ctx.save_for_backward(x, weight, bias, used)
        out = layer.product(x.t(), used, bias)
        return out.t().clone(memory_format=torch.contiguous_format)  # no view: it may be changed in place

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        x, weight, bias, used = ctx.saved_tensors
        layer, (_, *wanted) = ctx.layer, ctx.needs_input_grad
        if torch.is_grad_enabled() or not has_values(g):  # second derivatives, or many at once
            with torch.enable_grad():
                out = functional.linear(x, layer.masked_weight(weight), bias)
            return None, *gradients_of([out], (x, weight, bias), wanted, [g])
        of_x = layer.gradient_of_input(g.t(), used).t().contiguous() if wanted[0] else None
        return None, of_x, layer.gradient_of_weight(g.t(), x.t()), g.sum(0)
