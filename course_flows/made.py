"""MADE: a network whose output i sees only the inputs that come before i in a given order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from course_flows.masked_linear import MaskedLinear, StripedLinear, strips_of
from course_flows.nets import activation_named

__all__ = ["MADE", "Stage", "hidden_degrees", "input_degrees"]

STRIPS = {2**16: 4, 2**18: 8}  # from so many entries of a mask on, so many strips: what was fastest


def input_degrees(features: int, order: Sequence[int] | Tensor | None = None) -> Tensor:
    """Return the place of each coordinate in the order, from 1: ``(D,)``.

    Arguments:
        features: D.
        order: ``order[k]`` is the coordinate that comes at place k, from 0; None for 0, 1, …, D − 1.

    >>> input_degrees(3, [2, 0, 1])
    tensor([2, 3, 1])
    """
    order = torch.arange(features) if order is None else torch.as_tensor(order)
    if order.shape != (features,) or not torch.equal(order.sort().values, torch.arange(features)):
        raise ValueError(f"expected an order with each of 0 to {features - 1} once, found {order.tolist()}")
    return order.argsort() + 1


def hidden_degrees(units: int, features: int, lowest: int = 1, seed: int | None = None) -> Tensor:
    """Return how many inputs, counted in their order, each hidden unit may see, ascending: ``(units,)``.

    They lie from `lowest` to D − 1: a unit that saw all D inputs could not be used by any output.
    With D = 1 all of them are `lowest`.

    Arguments:
        units: how many.
        features: D.
        lowest: 0 where units that see a context alone are of use.
        seed: to draw the degrees instead of spreading them evenly.

    >>> hidden_degrees(6, 4)
    tensor([1, 1, 2, 2, 3, 3])
    """
    highest = max(features - 1, lowest)
    if seed is None:
        return lowest + torch.arange(units) * (highest - lowest + 1) // units
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(lowest, highest + 1, (units,), generator=generator).sort().values


class MADE(nn.Module):
    r"""A network with masked weights, ``(*batch, D) -> (*batch, P D)``: what it returns for coordinate i depends on
    the coordinates before i alone.

    Input i has the degree :math:`d(i)`, its place in the order; each hidden unit has a degree :math:`d(k)` from 1
    (with a context from 0) to D − 1 and sees what has at most this degree; output i sees the hidden units of a degree
    below its own:

    .. math:: M_{kj} = [d(k) \ge d(j)] \text{ (hidden)}, \qquad M_{ik} = [d(i) > d(k)] \text{ (output)}.

    On every path from input j to output i the degrees rise and the last step is strict, so that :math:`d(i) > d(j)`.
    Every such pair has a path where each hidden layer has at least D − 1 units (with a context D) and their degrees are
    spread evenly; smaller layers and random degrees may leave some out.

    Arguments:
        features: D.
        parameters_per_value: P; the output holds all first parameters, then all second ones, and so on.
        hidden: sizes of the hidden layers.
        order: a permutation, see `input_degrees`.
        activation: see `MLP`.
        residual: add the input of each pair of hidden layers to its output; all hidden layers of one size then.
        context_features: size of a context ``(*batch, C)`` that every hidden unit of the first layer sees; with fewer
            batch dimensions, or 1 in their place, it is one that several inputs share.
        seed: draw the degrees of hidden units at random; None spreads them evenly.
        zero_init: start with an output of zeros.

    Source: M. Germain, K. Gregor, I. Murray and H. Larochelle, *MADE: masked autoencoder for distribution estimation*
    (2015); residual blocks as in C. Nash and C. Durkan, *Autoregressive energy machines* (2019).

    Raises ValueError for options that do not fit together, and where a context is missing, not expected or of another
    shape.

    >>> net = MADE(3, hidden=(8,), order=[2, 0, 1])
    >>> net(torch.zeros(5, 3)).shape
    torch.Size([5, 6])
    >>> jacobian = torch.autograd.functional.jacobian(net, torch.ones(3)).unflatten(0, (2, 3))
    >>> (jacobian != 0).any(dim=0)[2]  # coordinate 2 comes first: neither of its parameters sees anything
    tensor([False, False, False])
    """

    def __init__(
        self,
        features: int,
        parameters_per_value: int = 2,
        hidden: Sequence[int] = (64, 64),
        order: Sequence[int] | Tensor | None = None,
        activation: str = "relu",
        residual: bool = False,
        context_features: int = 0,
        seed: int | None = None,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        if features < 1 or parameters_per_value < 1 or context_features < 0:
            raise ValueError(
                "MADE expects at least 1 feature, 1 parameter a value and 0 or more numbers of a context, found "
                f"features={features}, parameters_per_value={parameters_per_value}, context_features={context_features}"
            )
        if any(units < 1 for units in hidden):
            raise ValueError(f"MADE expects at least 1 unit in each hidden layer, found {tuple(hidden)}")
        if residual and (len(hidden) % 2 == 0 or len(set(hidden)) != 1):
            raise ValueError(
                "a residual MADE expects a first hidden layer and pairs of further ones, all of one size, "
                f"found {tuple(hidden)}"
            )
        self.features, self.parameters_per_value = features, parameters_per_value
        self.context_features, self.residual = context_features, residual
        lowest = 0 if context_features else 1
        seeds = [None if seed is None else seed + (0 if residual else k) for k in range(len(hidden))]
        of_hidden = [hidden_degrees(units, features, lowest, s) for units, s in zip(hidden, seeds)]
        for k, degrees in enumerate([input_degrees(features, order), *of_hidden]):
            self.register_buffer(f"degrees_{k}", degrees)  # a saved network keeps them; the masks follow from them
        *masks, last = self._masks()
        self.layers = nn.ModuleList(map(_linear, masks))
        self.last = _linear(last, features)
        if zero_init:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)
        first = hidden[0] if hidden else parameters_per_value * features
        self.context = nn.Linear(context_features, first, bias=False) if context_features else None
        self.activation = activation_named(activation, overwrite=False)

    def _load_from_state_dict(self, *args: Any) -> None:
        super()._load_from_state_dict(*args)  # the degrees; the layers come next, and may have to cut saved matrices
        self._mask_again()

    @property
    def degrees(self) -> list[Tensor]:
        """Return the degrees of the inputs and of each hidden layer."""
        return [buffer for name, buffer in self.named_buffers(recurse=False) if name.startswith("degrees_")]

    @property
    def order(self) -> Tensor:
        """The coordinates in the order of the network, ``(D,)``."""
        return self.degrees[0].argsort()

    def _masks(self) -> list[Tensor]:
        inside = [b[:, None] >= a for a, b in pairwise(self.degrees)]
        outputs = self.degrees[0].repeat(self.parameters_per_value)
        return [*inside, outputs[:, None] > self.degrees[-1]]

    def _mask_again(self) -> None:
        """Follow degrees that were loaded."""
        if any((degrees.diff() < 0).any() for degrees in self.degrees[1:]):
            raise ValueError("MADE cannot load this state: it expects ascending degrees of hidden units, found others")
        for stage, mask in zip(self.stages(), self._masks()):
            try:
                stage.layer.set_mask(mask)
            except ValueError as error:
                raise ValueError(
                    "MADE cannot load this state: it was saved with another order or other degrees, with which its "
                    "weights are stored in another form; build the network with the order and the degrees of the state"
                ) from error

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if x.dim() < 1 or x.shape[-1] != self.features:
            raise ValueError(f"MADE expects an input of shape (*batch, {self.features}), found {tuple(x.shape)}")
        self.check_context(context, x.shape[:-1])
        h = x
        for stage in self.stages():
            source = h if stage.opens else self.activation(h)
            if stage.skips == 2:
                before = h  # what comes in at the first layer of a residual pair
            h = stage.layer(source)
            if stage.opens and self.context is not None:
                h = h + self.context(context)
            elif stage.skips == 1:
                h = h + before
        return h

    def check_context(self, context: Tensor | None, batch: Sequence[int] | None = None) -> None:
        """Raise ValueError unless a context, or its absence, fits the network and points of this batch shape."""
        if self.context is None:
            if context is not None:
                raise ValueError(f"MADE expects no context, found one of shape {tuple(context.shape)}")
            return
        found = "none" if context is None else f"{tuple(context.shape)}"
        if context is None or context.shape[-1:] != (self.context_features,):
            raise ValueError(f"MADE expects a context of shape (*batch, {self.context_features}), found {found}")
        given = context.shape[:-1]
        if batch is None:
            return
        if len(given) > len(batch) or any(a not in (1, b) for a, b in zip(reversed(given), reversed(batch))):
            raise ValueError(
                f"MADE expects a context of shape {(*batch, self.context_features)}, or with 1 or nothing in the place "
                f"of batch dimensions, found {found}"
            )

    def of_context(self, context: Tensor | None) -> Tensor:
        """Return what a context adds to the first layer."""
        self.check_context(context)
        assert self.context is not None
        return self.context(context)

    def stages(self) -> list[Stage]:
        """Return the layers in the order in which they are computed."""
        layers = [*self.layers, self.last]
        skips = [0] * len(layers)
        if self.residual:
            skips[1:-1] = [2, 1] * ((len(layers) - 2) // 2)
        return [Stage(layer, k == 0, skip) for k, (layer, skip) in enumerate(zip(layers, skips))]


def _linear(mask: Tensor, rows: int | None = None) -> MaskedLinear | StripedLinear:
    """Return the faster layer for a mask: strips pay for large ones with steps; after `rows` rows the steps repeat."""
    count = max((strips for entries, strips in STRIPS.items() if mask.numel() >= entries), default=0)
    height = -(-(rows or len(mask)) // max(count, 1))
    strips = strips_of(mask, height) if count else None
    if strips is None or sum(math.prod(strip.shape) for strip in strips) > 0.75 * mask.numel():
        return MaskedLinear(mask)
    return StripedLinear(mask, height)


@dataclass(frozen=True)
class Stage:
    """A layer of a MADE.

    Attributes:
        layer: its weights.
        opens: it takes the input as it is; the others take the activations of the stage before.
        skips: 2 for the first and 1 for the second layer of a residual pair, 0 outside of pairs.
    """

    layer: MaskedLinear | StripedLinear
    opens: bool
    skips: int
