"""MADE, MAF and IAF: layers of masked networks, with orders that are reversed in turn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from course_flows.distributions import Base, StandardNormal
from course_flows.flow import Flow
from course_flows.made import MADE
from course_flows.mixture import AutoregressiveMixture
from course_flows.transforms.autoregressive import AutoregressiveStack, InverseAutoregressive, MaskedAutoregressive
from course_flows.transforms.base import Compose, Transform
from course_flows.transforms.images import Flatten
from course_flows.transforms.normalization import ActNorm, BatchNorm
from course_flows.transforms.preprocessing import Logit

__all__ = ["iaf", "made", "maf"]

NORMS: dict[str, Callable[[int], Transform]] = {"batch": BatchNorm, "act": ActNorm}


def maf(
    event_shape: int | Sequence[int],
    *,
    layers: int = 5,
    hidden: Sequence[int] = (512, 512),
    activation: str = "relu",
    residual: bool = False,
    context_features: int = 0,
    norm: str | None = "batch",
    components: int = 1,
    random_degrees: bool = False,
    bound: float | None = 5.0,
    alpha: float | None = None,
    zero_init: bool = True,
    seed: int = 0,
) -> Flow:
    """Build MAF: density in one pass, samples coordinate by coordinate.

    Arguments:
        event_shape: D for vectors, or ``(C, H, W)`` for images in [0, 1], whose pixels are taken in row order.
        layers: how many; each second one takes the coordinates in reversed order.
        hidden, activation, residual, context_features, zero_init: of each network, see `MADE`.
        norm: after each layer: ``batch`` (`BatchNorm`, as in the paper), ``act`` (`ActNorm`) or None.
        components: 1 for a normal base; more for an `AutoregressiveMixture` with a network like the others (MAF MoG).
        random_degrees: draw the degrees of hidden units with `seed` instead of spreading them evenly.
        bound: largest log-scale of a layer; None for no bound, as in the paper.
        alpha: of a `Logit` before everything; None for none.

    Raises ValueError for a norm that is none of these, a negative number of layers, and what `MADE` raises.

    >>> flow = maf(2, layers=3, hidden=(16,)).eval()
    >>> flow.log_prob(torch.zeros(5, 2)).shape, flow.sample(4).shape
    (torch.Size([5]), torch.Size([4, 2]))

    Source: G. Papamakarios, T. Pavlakou and I. Murray, *Masked autoregressive flow for density estimation* (2017).
    """
    if norm is not None and norm not in NORMS:
        raise ValueError(f"maf expects a norm of {', '.join(NORMS)} or None, found {norm!r}")
    if layers < 0:
        raise ValueError(f"maf expects 0 or more layers, found {layers}")
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    parts: list[Transform] = []
    for k in range(layers):
        net = MADE(
            math.prod(shape),
            hidden=hidden,
            order=torch.arange(math.prod(shape)).flip(0) if k % 2 else None,
            activation=activation,
            residual=residual,
            context_features=context_features,
            seed=seed + k * (1 + len(hidden)) if random_degrees else None,
            zero_init=zero_init,
        )
        parts.append(MaskedAutoregressive(net, bound))
        if norm is not None:
            parts.append(NORMS[norm](math.prod(shape)))
    if components == 1:
        return _flow(parts, shape, alpha)
    base = AutoregressiveMixture(
        shape,
        components,
        hidden=hidden,
        order=torch.arange(math.prod(shape)).flip(0) if layers % 2 else None,
        activation=activation,
        residual=residual,
        context_features=context_features,
        seed=seed + layers * (1 + len(hidden)) if random_degrees else None,
    )
    return _flow(parts, shape, alpha, base)


def made(
    event_shape: int | Sequence[int],
    *,
    hidden: Sequence[int] = (1024,),
    activation: str = "relu",
    residual: bool = False,
    context_features: int = 0,
    components: int = 1,
    random_degrees: bool = False,
    bound: float | None = 5.0,
    alpha: float | None = None,
    zero_init: bool = True,
    seed: int = 0,
) -> Flow:
    """Build a MADE as a flow: with Gaussian conditionals one layer of `maf` without normalization.

    With several `components` (MADE MoG) nothing is left to the transform: the base, an `AutoregressiveMixture`, is the
    model.

    Arguments: as in `maf`.

    Source: M. Germain, K. Gregor, I. Murray and H. Larochelle, *MADE: masked autoencoder for distribution estimation*
    (2015).
    """
    return maf(
        event_shape,
        layers=1 if components == 1 else 0,
        hidden=hidden,
        activation=activation,
        residual=residual,
        context_features=context_features,
        norm=None,
        components=components,
        random_degrees=random_degrees,
        bound=bound,
        alpha=alpha,
        zero_init=zero_init,
        seed=seed,
    )


def iaf(
    event_shape: int | Sequence[int],
    *,
    layers: int = 5,
    hidden: Sequence[int] = (512, 512),
    activation: str = "relu",
    residual: bool = False,
    context_features: int = 0,
    bound: float | None = 5.0,
    zero_init: bool = True,
) -> Flow:
    """Build IAF: samples, and their density, in one pass; the density of other points coordinate by coordinate.

    Arguments: as in `maf`. Each layer is an `InverseAutoregressive`; nothing normalizes between them.

    >>> x, log_prob = iaf(2, layers=3, hidden=(16,)).rsample_and_log_prob((5,))  # one pass of each network
    >>> x.shape, log_prob.shape
    (torch.Size([5, 2]), torch.Size([5]))

    Source: D. P. Kingma et al., *Improved variational inference with inverse autoregressive flow* (2016).
    """
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    count = math.prod(shape)
    parts: list[Transform] = []
    for k in range(layers):
        order = torch.arange(count).flip(0) if k % 2 else None
        net = MADE(count, 2, hidden, order, activation, residual, context_features, zero_init=zero_init)
        parts.append(InverseAutoregressive(net, bound))
    return _flow(parts, shape, None)


def _flow(parts: Sequence[Transform], shape: tuple[int, ...], alpha: float | None, base: Base | None = None) -> Flow:
    transform: Transform = Compose(*([] if alpha is None else [Logit(alpha)]), *parts)
    if alpha is None and len({type(part) for part in parts}) == 1:
        transform = AutoregressiveStack(parts)
    return Flow(Flatten(transform, shape) if len(shape) > 1 else transform, base or StandardNormal(shape))
