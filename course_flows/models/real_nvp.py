"""Real NVP: affine couplings, for vectors in one stack and for images at several scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from course_flows.distributions import StandardNormal
from course_flows.flow import Flow
from course_flows.nets import MLP, ResidualConvNet
from course_flows.transforms.base import Compose, Transform
from course_flows.transforms.coupling import AffineCoupling, LearnedTanh
from course_flows.transforms.images import Flatten, MultiScale, Squeeze
from course_flows.transforms.masks import channel_mask, checkerboard_mask, half_mask
from course_flows.transforms.normalization import BatchNorm
from course_flows.transforms.preprocessing import Logit
from course_flows.transforms.reversible import ReversibleCompose
from course_flows.transforms.stack import CouplingStack

__all__ = ["real_nvp", "real_nvp_flat"]


def real_nvp(event_shape: int | Sequence[int], **options: Any) -> Flow:
    """Build Real NVP for vectors (`event_shape` D: `real_nvp_vector`) or images (``(C, H, W)``: `real_nvp_image`).

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017).
    """
    if isinstance(event_shape, int):
        return real_nvp_vector(event_shape, **options)
    if len(event_shape) == 1:
        return real_nvp_vector(event_shape[0], **options)
    if len(event_shape) == 3:
        return real_nvp_image(event_shape, **options)
    raise ValueError(f"real_nvp expects D or (C, H, W), found {tuple(event_shape)}")


def real_nvp_flat(
    event_shape: Sequence[int],
    *,
    alpha: float = 0.05,
    couplings: int = 5,
    hidden: Sequence[int] = (1024, 1024),
    bound: float | None = 3.0,
    batch_norm: bool = True,
) -> Flow:
    """Build Real NVP for images in [0, 1] taken as vectors of their pixels, without convolutions or scales.

    Arguments:
        event_shape: ``(C, H, W)``, or any other shape of a point.
        alpha: of the `Logit` before the couplings.
        couplings, hidden, bound, batch_norm: see `real_nvp_vector`.

    Source: G. Papamakarios, T. Pavlakou and I. Murray, *Masked autoregressive flow for density estimation* (2017), to
    which MAF is compared there.
    """
    shape = tuple(event_shape)
    vectors = real_nvp_vector(math.prod(shape), couplings=couplings, hidden=hidden, bound=bound, batch_norm=batch_norm)
    return Flow(Flatten(Compose(Logit(alpha), vectors.transform), shape), StandardNormal(shape))


def real_nvp_vector(
    features: int,
    *,
    couplings: int = 8,
    hidden: Sequence[int] = (128, 128),
    bound: float | None = 3.0,
    activation: str = "relu",
    zero_init: bool = True,
    batch_norm: bool = False,
    reversible: bool = False,
    fused: bool = False,
) -> Flow:
    """Build affine couplings of vectors that keep the first and the second half in turn; normal base.

    Arguments:
        features: D.
        couplings: how many.
        hidden, activation, zero_init: of each network, see `MLP`.
        bound: largest log-scale of a coupling, None for no bound.
        batch_norm: a `BatchNorm` after each coupling.
        reversible: recompute activations in the backward pass, see `ReversibleCompose`; not with `batch_norm`.
        fused: train faster by one hand-written gradient, see `CouplingStack`; with ReLUs, a bound and neither of the
            two options before.
    """
    if features < 2:
        raise ValueError(f"real_nvp expects points of at least 2 values, found {features}")
    _check_reversible(reversible, batch_norm)
    if fused and (reversible or batch_norm):
        raise ValueError("expected fused without reversible and batch_norm, found them together")
    layers: list[Transform] = []
    for k in range(couplings):
        mask = half_mask(features, flip=bool(k % 2))
        kept = int(mask.sum())
        net = MLP(kept, 2 * (features - kept), hidden, zero_init, activation)
        layers.append(AffineCoupling(mask, net, bound))
        if batch_norm:
            layers.append(BatchNorm(features))
    kind = ReversibleCompose if reversible else Compose if batch_norm else partial(CouplingStack, fused=fused)
    return Flow(kind(layers), StandardNormal(features))


def real_nvp_image(
    event_shape: Sequence[int],
    *,
    scales: int = 2,
    channels: int = 32,
    blocks: int = 2,
    checkerboards: int = 3,
    channelwise: int = 3,
    last_checkerboards: int = 4,
    alpha: float = 0.05,
    batch_norm: bool = False,
    reversible: bool = False,
) -> Flow:
    """Build the multi-scale architecture on images in [0, 1]: logit, levels with factoring out, normal base.

    Each scale but the last: couplings with checkerboard masks, squeeze, couplings with channel masks on images of four
    times the channels, and half of the channels is factored out. The last scale: checkerboards alone. The residual
    networks have `channels` hidden channels at the first scale and twice as many after each squeeze.

    The published code of the paper differs in details: its networks also see the negated values and the mask; one
    learned number bounds all log-scales of a coupling (here one a channel); what is batch-normalized after a coupling
    is what it moved; and the squeezed channels are in another order when half of them is factored out.

    Arguments:
        event_shape: ``(C, H, W)``, H and W divisible by ``2^(scales − 1)``.
        scales: 1 for no squeeze at all.
        channels, blocks: of the residual networks, see `ResidualConvNet`.
        checkerboards, channelwise, last_checkerboards: couplings of each kind at a scale.
        alpha: of the `Logit` that opens [0, 1].
        batch_norm: normalize inside the networks and after each coupling, as the paper does.
        reversible: recompute activations in the backward pass, see `ReversibleCompose`; not with `batch_norm`.
    """
    _check_reversible(reversible, batch_norm)
    c, h, w = event_shape
    if scales < 1 or h % 2 ** (scales - 1) or w % 2 ** (scales - 1):
        raise ValueError(
            f"real_nvp with {scales} scales expects a height and width divisible by {2 ** max(scales - 1, 0)}, "
            f"found {h} x {w}"
        )
    stack = ReversibleCompose if reversible else Compose

    def coupling(mask: Tensor, image_channels: int, hidden: int) -> list[Transform]:
        by_channel = mask.shape[1:] == (1, 1)
        kept = int(mask.sum()) if by_channel else image_channels
        moved = image_channels - kept if by_channel else image_channels
        net = ResidualConvNet(kept, 2 * moved, hidden, blocks, batch_norm=batch_norm)
        layers: list[Transform] = [AffineCoupling(mask, net, LearnedTanh((moved, 1, 1)))]
        return [*layers, BatchNorm(image_channels, event_ndim=3)] if batch_norm else layers

    levels: list[Transform] = []
    for scale in range(scales):
        last = scale == scales - 1
        layers: list[Transform] = []
        for k in range(last_checkerboards if last else checkerboards):
            layers += coupling(checkerboard_mask(h, w, flip=bool(k % 2)), c, channels)
        if not last:
            c, h, w, channels = 4 * c, h // 2, w // 2, 2 * channels
            layers.append(Squeeze())
            exchanging: list[Transform] = []
            for k in range(channelwise):
                exchanging += coupling(channel_mask(c, flip=bool(k % 2)), c, channels)
            layers += exchanging if reversible or batch_norm else [CouplingStack(exchanging)]
            c //= 2
        levels.append(stack(layers))
    return Flow(Compose(Logit(alpha, event_ndim=3), MultiScale(levels)), StandardNormal(tuple(event_shape)))


def _check_reversible(reversible: bool, batch_norm: bool) -> None:
    if reversible and batch_norm:
        raise ValueError(
            "expected reversible or batch_norm, found both: batch statistics cannot be recomputed backwards"
        )
