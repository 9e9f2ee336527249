"""Glow: steps of ActNorm, 1 × 1 convolution and coupling, at several levels with learned priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_flows.conv_nets import ConvNet, ZeroConv
from course_flows.distributions import StandardNormal
from course_flows.flow import Flow
from course_flows.models.flow_steps import FlowSteps
from course_flows.transforms.base import Compose, Inverse, Transform
from course_flows.transforms.coupling import AdditiveCoupling, AffineCoupling, Coupling, Tanh
from course_flows.transforms.images import MultiScale, Squeeze
from course_flows.transforms.masks import channel_mask
from course_flows.transforms.mixing import ChannelPermutation, Conv1x1, FlowStep
from course_flows.transforms.normalization import ActNorm
from course_flows.transforms.preprocessing import Logit
from course_flows.transforms.reversible import ReversibleCompose

__all__ = ["SigmoidScale", "glow"]

MIXINGS: dict[str, Callable[[int, int], Transform]] = {
    "lu": lambda c, seed: Conv1x1(c, "lu", seed),
    "qr": lambda c, seed: Conv1x1(c, "qr", seed),
    "plain": lambda c, seed: Conv1x1(c, "plain", seed),
    "reverse": lambda c, seed: ChannelPermutation.reversal(c),
    "shuffle": lambda c, seed: ChannelPermutation.random(c, seed),
}


class SigmoidScale(nn.Module):
    r"""The scale of the published code of Glow, :math:`e^s = \sigma(r + 2)`, which never enlarges, with a floor:

    .. math:: e^s = \epsilon + (1 - \epsilon)\, \sigma(r + 2).

    At a raw scale r of 0 it is about 0.88, so that such a coupling does not start as the identity. Without a floor the
    inverse, which divides by it, overflows on points that training never saw.

    Arguments:
        floor: :math:`\epsilon`, the smallest scale.
    """

    def __init__(self, floor: float = 0.01) -> None:
        super().__init__()
        if not 0 <= floor < 1:
            raise ValueError(f"SigmoidScale expects a floor from 0 to below 1, found {floor}")
        self.floor = floor

    def forward(self, raw: Tensor) -> Tensor:
        return torch.log(self.floor + (1 - self.floor) * torch.sigmoid(raw + 2.0))

    def extra_repr(self) -> str:
        return f"floor={self.floor}"


def glow(
    event_shape: int | Sequence[int],
    *,
    levels: int = 3,
    steps: int = 32,
    channels: int = 512,
    affine: bool = True,
    mixing: str = "lu",
    scale: str = "tanh",
    conditional_prior: bool = True,
    classes: int = 0,
    alpha: float | None = None,
    reversible: bool = False,
    seed: int = 0,
) -> Flow:
    """Build Glow on images in [0, 1]: each level squeezes, makes `steps` steps of flow and factors out half.

    The defaults have the size of the paper's model for CIFAR-10; the preset ``glow-cifar10`` has its scale, too.

    Arguments:
        event_shape: ``(C, H, W)``, H and W divisible by ``2^levels``.
        levels, steps: L and K of the paper.
        channels: of the hidden layers of each network, see `ConvNet`.
        affine: affine couplings, else additive ones.
        mixing: of the channels before each coupling: ``lu``, ``qr`` or ``plain`` for a `Conv1x1` of that kind;
            ``reverse`` or ``shuffle`` for a fixed order.
        scale: of affine couplings: ``tanh`` (`Tanh` with limit 3, starts as the identity) or ``sigmoid``
            (`SigmoidScale`, nearly as published).
        conditional_prior: learn mean and deviation of what is factored out from what goes on, else a standard normal.
        classes: above 0 every network also sees a class: give ``context (*batch, classes, 1, 1)``, one-hot.
        alpha: of a `Logit` before everything; None for none, as in the paper.
        reversible: recompute activations in the backward pass, see `ReversibleCompose`.
        seed: of the matrices and shuffles; the networks draw from torch's global generator.

    Raises ValueError for options that are none of these and sizes that do not divide.

    Source: D. P. Kingma and P. Dhariwal, *Glow: generative flow with invertible 1 × 1 convolutions* (2018).
    """
    shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
    if len(shape) != 3 or levels < 1 or any(size % 2**levels for size in shape[1:]):
        raise ValueError(
            f"glow expects at least 1 level, and images (C, H, W) with H and W divisible by 2 to the number of levels, "
            f"found {levels} levels and {shape}"
        )
    if steps < 1 or channels < 1 or classes < 0:
        raise ValueError(
            f"glow expects at least 1 step and 1 channel, and classes of 0 or more, "
            f"found steps={steps}, channels={channels}, classes={classes}"
        )
    if mixing not in MIXINGS or scale not in ("tanh", "sigmoid"):
        raise ValueError(
            f"glow expects a mixing of {', '.join(MIXINGS)} and a scale of tanh or sigmoid, found {mixing!r}, {scale!r}"
        )
    if not affine and scale != "tanh":
        raise ValueError("glow expects a scale for affine couplings only: additive ones have none")

    def coupling(c: int) -> Coupling:
        mask = channel_mask(c)
        kept, moved = c // 2, c - c // 2
        if not affine:
            return AdditiveCoupling(mask, ConvNet(kept, moved, channels, context_channels=classes))
        bound = Tanh(3.0) if scale == "tanh" else SigmoidScale()
        return AffineCoupling(mask, ConvNet(kept, 2 * moved, channels, context_channels=classes), bound)

    stack = ReversibleCompose if reversible else FlowSteps
    parts: list[Transform] = []
    priors: list[Transform] = []
    c = shape[0]
    for level in range(levels):
        c *= 4
        flow_steps = [
            FlowStep(ActNorm(c, event_ndim=3), MIXINGS[mixing](c, seed + level * steps + k), coupling(c))
            for k in range(steps)
        ]
        last = level == levels - 1
        parts.append(Compose(Squeeze(), stack(flow_steps), *([Inverse(Squeeze())] if last else [])))
        if not last:
            priors.append(AffineCoupling(channel_mask(c), ZeroConv(c // 2, c, classes)))
            c //= 2
    multi_scale = MultiScale(parts, priors if conditional_prior else None)
    transform = multi_scale if alpha is None else Compose(Logit(alpha, event_ndim=3), multi_scale)
    return Flow(transform, StandardNormal(shape))
