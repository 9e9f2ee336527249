"""NICE: additive couplings and one learned scaling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from course_flows.distributions import Base, StandardLogistic, StandardNormal
from course_flows.flow import Flow
from course_flows.nets import MLP
from course_flows.transforms.base import Compose, Transform
from course_flows.transforms.coupling import AdditiveCoupling
from course_flows.transforms.images import Flatten
from course_flows.transforms.linear import Diagonal
from course_flows.transforms.masks import alternating_mask, half_mask
from course_flows.transforms.reversible import ReversibleCompose
from course_flows.transforms.stack import CouplingStack

__all__ = ["nice"]

BASES: dict[str, type[Base]] = {"logistic": StandardLogistic, "normal": StandardNormal}
MASKS = {"alternating": alternating_mask, "half": half_mask}


def nice(
    event_shape: int | Sequence[int],
    *,
    couplings: int = 4,
    hidden: Sequence[int] = (1000,) * 5,
    base: str = "logistic",
    mask: str = "alternating",
    activation: str = "relu",
    zero_init: bool = True,
    reversible: bool = False,
) -> Flow:
    r"""Build NICE: `couplings` additive couplings that move the two parts in turn, then a diagonal scaling :math:`e^s`.

    The couplings keep volume, so that :math:`\log|\det J| = \sum_i s_i` for every point. The defaults are those of the
    paper for MNIST. Images are taken as vectors of their pixels.

    Arguments:
        event_shape: D for vectors, or ``(C, H, W)``.
        couplings: at least 3 where every output is to depend on every input.
        hidden: sizes of the hidden layers of each network.
        base: ``logistic`` or ``normal``.
        mask: ``alternating`` (every other coordinate, as in the paper) or ``half``.
        activation: of the networks, see `MLP`.
        zero_init: start as the identity, which is safe at any depth; the paper says nothing of it.
        reversible: recompute activations in the backward pass, see `ReversibleCompose`.

    Raises ValueError for names that are none of these and for points of one value.

    Source: L. Dinh, D. Krueger and Y. Bengio, *NICE: non-linear independent components estimation* (2015).
    """
    if base not in BASES or mask not in MASKS:
        raise ValueError(f"nice expects a base of {list(BASES)} and a mask of {list(MASKS)}, found {base!r}, {mask!r}")
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    features = math.prod(shape)
    if features < 2:
        raise ValueError(f"nice expects points of at least 2 values, found {features}")
    layers: list[Transform] = []
    for k in range(couplings):
        kept = MASKS[mask](features, flip=bool(k % 2))
        count = int(kept.sum())
        layers.append(AdditiveCoupling(kept, MLP(count, features - count, hidden, zero_init, activation)))
    stack: Transform = ReversibleCompose(layers) if reversible else CouplingStack(layers)
    transform: Transform = Compose(stack, Diagonal(features, shift=False))
    if len(shape) > 1:
        transform = Flatten(transform, shape)
    return Flow(transform, BASES[base](shape))
