"""Networks that turn what a flow may look at into the parameters of its next step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["MLP", "ResidualConvNet"]

ROWS_IN_CACHE = 1024  # of large batches on a CPU: what one layer writes is still in the cache when the next reads it
ACTIVATIONS = {"silu": nn.SiLU, "relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}


def activation_named(name: str, overwrite: bool = True) -> nn.Module:
    """Return an activation; a ReLU may write over its input, which saves a pass through memory."""
    if name not in ACTIVATIONS:
        raise ValueError(f"expected an activation of {', '.join(ACTIVATIONS)}, found {name!r}")
    return nn.ReLU(inplace=overwrite) if name == "relu" else ACTIVATIONS[name]()


def beside(x: Tensor, context: Tensor | None, event: tuple[int, ...]) -> Tensor:
    """Put a context ``(*batch, C, ...)`` beside ``x``, its own C first in `event`; other sizes spread where they are 1.

    >>> beside(torch.zeros(5, 2), torch.ones(3), (3,)).shape
    torch.Size([5, 5])
    """
    channels, ndim = event[0], len(event)
    if context is None and channels == 0:
        return x
    shape = (*x.shape[:-ndim], channels, *event[1:])
    found = "none" if context is None else str(tuple(context.shape))
    if context is None or channels == 0:
        wanted = "no context" if channels == 0 else f"a context of shape {shape}"
        raise ValueError(f"the network expects {wanted}, found {found}")
    if context.dim() < ndim or context.shape[-ndim] != channels or not _spreads(context.shape, shape):
        raise ValueError(f"the network expects a context of shape {shape}, or with 1 in its place, found {found}")
    return torch.cat([x, context.expand(shape)], dim=-ndim)


def _spreads(small: Sequence[int], large: Sequence[int]) -> bool:
    return len(small) <= len(large) and all(a in (1, b) for a, b in zip(reversed(small), reversed(large)))


def channels_last(x: Tensor) -> Tensor:
    """Lay out ``(N, C, H, W)`` with the channels of a pixel side by side in memory: convolutions are faster for it."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # `memory_format` is not to be had under vmap


class MLP(nn.Module):
    """A fully connected network ``(*batch, in_features) -> (*batch, out_features)``.

    Arguments:
        in_features, out_features: sizes of the input and the output.
        hidden: sizes of the hidden layers.
        zero_init: start with an output of zeros, so that a coupling built on it starts as the identity.
        activation: between the layers: ``silu``, ``relu``, ``tanh`` or ``elu``.
        context_features: size of the context that is put beside the input: ``(*batch, context_features)``, or with
            fewer batch dimensions, or 1 in their place, for a context that several inputs share.

    Raises ValueError where a context is missing, not expected or of another shape.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (64, 64),
        zero_init: bool = False,
        activation: str = "silu",
        context_features: int = 0,
    ) -> None:
        super().__init__()
        self.context_features = context_features
        sizes = [in_features + context_features, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), activation_named(activation)]
        last = nn.Linear(sizes[-1], out_features)
        if zero_init:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is not None or self.context_features:
            x = beside(x, context, (self.context_features,))
        if torch.is_grad_enabled() or x.device.type != "cpu" or x.shape[:-1].numel() <= 2 * ROWS_IN_CACHE:
            return self.layers(x)
        rows = x.reshape(-1, x.shape[-1]).split(ROWS_IN_CACHE)
        return torch.cat([self.layers(part) for part in rows]).reshape(*x.shape[:-1], -1)


class ResidualConvNet(nn.Module):
    """A residual convolutional network ``(*batch, C_in, H, W) -> (*batch, C_out, H, W)``.

    A 3 × 3 convolution, residual blocks of two 3 × 3 convolutions with the activation before each, a sum of 1 × 1
    convolutions of the outputs of the first layer and of every block, and a last 1 × 1 convolution.

    Arguments:
        in_channels, out_channels: of the image that comes in and of the parameters that go out.
        channels: of the hidden layers.
        blocks: number of residual blocks.
        batch_norm: normalize before each activation.
        weight_norm: split each weight into direction and length.
        zero_init: start with an output of zeros, so that a coupling built on it starts as the identity.
        activation: ``relu``, ``silu``, ``tanh`` or ``elu``.
        context_channels: of the context ``(*batch, context_channels, H, W)`` that is put beside the input. H and W
            may be 1 for one vector an image (a label), which then fits images of every size.

    Raises ValueError where a context is missing, not expected or of another shape.

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017), section 4.1 and its
    published code: residual blocks, skip connections, weight and batch normalization.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 32,
        blocks: int = 2,
        batch_norm: bool = False,
        weight_norm: bool = True,
        zero_init: bool = True,
        activation: str = "relu",
        context_channels: int = 0,
    ) -> None:
        super().__init__()
        self.context_channels = context_channels
        self.weight_norm = weight_norm
        self.batch_norm = batch_norm
        self.activation = activation
        self.enter = self._conv(in_channels + context_channels, channels, 3)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *self._before(channels, keeps_input=not batch_norm),
                self._conv(channels, channels, 3, bias=not batch_norm),
                *self._before(channels),
                self._conv(channels, channels, 3),
            )
            for _ in range(blocks)
        )
        self.skips = nn.ModuleList(self._conv(channels, channels, 1) for _ in range(blocks + 1))
        self.leave = nn.Sequential(*self._before(channels), nn.Conv2d(channels, out_channels, 1))
        if zero_init:
            nn.init.zeros_(self.leave[-1].weight)  # type: ignore[arg-type]  # a convolution, for types any module
        nn.init.zeros_(self.leave[-1].bias)  # type: ignore[arg-type]  # as well
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it

    def _conv(self, a: int, b: int, size: int, bias: bool = True) -> nn.Module:
        conv = nn.Conv2d(a, b, size, padding=size // 2, bias=bias)
        return weight_norm(conv) if self.weight_norm else conv

    def _before(self, channels: int, keeps_input: bool = False) -> list[nn.Module]:
        """Return what comes before a convolution; `keeps_input` where the input of the activation is used again."""
        activation = activation_named(self.activation, overwrite=not keeps_input)
        return [nn.BatchNorm2d(channels), activation] if self.batch_norm else [activation]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = beside(x, context, (self.context_channels, *x.shape[-2:]))
        h = channels_last(self.enter(channels_last(x.reshape(-1, *x.shape[-3:]))))  # one channel has no order to keep
        out = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:]):
            h = block(h).add_(h)  # no layer needs what it gave for its own gradient, so it may be written over
            out = skip(h).add_(out)
        out = self.leave(out)
        return out.reshape(*x.shape[:-3], *out.shape[-3:])
