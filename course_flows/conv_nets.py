"""The networks of Glow: convolutions whose hidden layers are normalized by their first batch, and a prior's one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from course_flows.nets import beside, channels_last
from course_flows.transforms.normalization import ActNorm

__all__ = ["ConvNet", "ZeroConv"]


class ConvNet(nn.Module):
    """A 3 × 3, a 1 × 1 and a 3 × 3 convolution, ``(*batch, C_in, H, W) -> (*batch, C_out, H, W)``.

    After each of the first two come an `ActNorm`, which the first training batch sets, and a ReLU.

    Arguments:
        in_channels, out_channels: of the image that comes in and of the parameters that go out.
        channels: of the hidden layers.
        zero_init: start with an output of zeros, so that a coupling built on it starts as the identity.
        context_channels: of the context that is put beside the input, see `ResidualConvNet`.
        normalize: False for biases in place of the normalizations.

    Raises ValueError where a context is missing, not expected or of another shape.

    Source: D. P. Kingma and P. Dhariwal, *Glow* (2018), section 5; the published code also marks the border of the
    image in an extra channel and gives the last layer a learned scale for each channel, which are left out here.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: int = 512,
        zero_init: bool = True,
        context_channels: int = 0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.context_channels = context_channels
        conv: type[_NormalizedConv | _PlainConv] = _NormalizedConv if normalize else _PlainConv
        self.first = conv(in_channels + context_channels, channels, 3)
        self.second = conv(channels, channels, 1)
        self.last = nn.Conv2d(channels, out_channels, 3, padding=1)
        if zero_init:
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # it has one
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack it

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = beside(x, context, (self.context_channels, *x.shape[-2:]))
        h = channels_last(x.reshape(-1, *x.shape[-3:]))
        out = self.last(self.second(self.first(h).relu_()).relu_())
        return out.reshape(*x.shape[:-3], *out.shape[-3:])

    def weights(self) -> tuple[Tensor, ...]:
        """Return weight and bias of each of the three convolutions, with the normalizations folded in."""
        assert self.last.bias is not None
        return *self.first.folded(), *self.second.folded(), self.last.weight, self.last.bias

    @property
    def waits(self) -> bool:
        """Whether the next batch sets normalizations."""
        return self.first.waits or self.second.waits


class ZeroConv(nn.Module):
    """One 3 × 3 convolution that starts at zero, ``(*batch, C_in, H, W) -> (*batch, C_out, H, W)``: Glow's priors.

    Arguments:
        in_channels, out_channels: of the image that comes in and of the parameters that go out.
        context_channels: of the context that is put beside the input, see `ResidualConvNet`.
    """

    def __init__(self, in_channels: int, out_channels: int, context_channels: int = 0) -> None:
        super().__init__()
        self.context_channels = context_channels
        self.conv = nn.Conv2d(in_channels + context_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        x = beside(x, context, (self.context_channels, *x.shape[-2:]))
        out = self.conv(x.reshape(-1, *x.shape[-3:]))
        return out.reshape(*x.shape[:-3], *out.shape[-3:])


class _PlainConv(nn.Conv2d):
    """A convolution that keeps height and width."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__(in_channels, out_channels, size, padding=size // 2)

    waits = False

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias."""
        assert self.bias is not None
        return self.weight, self.bias


class _NormalizedConv(nn.Module):
    """A convolution and an `ActNorm` in one: scale and shift go into weight and bias, which are smaller than images."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.norm = ActNorm(out_channels, event_ndim=3)

    def forward(self, x: Tensor) -> Tensor:
        if self.norm.waits:
            self.norm.see(self.conv(x))
        return nn.functional.conv2d(x, *self.folded(), padding=self.conv.padding)

    @property
    def waits(self) -> bool:
        """Whether the next batch sets the normalization."""
        return self.norm.waits

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias with the normalization in them."""
        return self.conv.weight * self.norm.log_scale.exp()[:, None, None, None], self.norm.shift
