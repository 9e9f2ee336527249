"""Mixing the channels of images: a fixed order, a learned 1 × 1 convolution, and Glow's step built on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_flows.transforms.base import Transform
from course_flows.transforms.coupling import Coupling
from course_flows.transforms.factored import LULinear, QRLinear
from course_flows.transforms.linear import DenseLinear, Linear, Permutation
from course_flows.transforms.normalization import ActNorm

__all__ = ["ChannelPermutation", "Conv1x1", "FlowStep"]


class ChannelPermutation(Transform):
    """Put the channels of images ``(*batch, C, H, W)`` into another order. The log-determinant is 0.

    Arguments:
        order: as in `Permutation`: output channel i is input channel ``order[i]``.
    """

    event_ndim = 3

    def __init__(self, order: Sequence[int] | Tensor) -> None:
        super().__init__()
        self.permutation = Permutation(order)

    @classmethod
    def reversal(cls, channels: int) -> ChannelPermutation:
        """Reverse the order of the channels: the mixing called *reverse* in Glow's figure 3."""
        return cls(range(channels - 1, -1, -1))

    @classmethod
    def random(cls, channels: int, seed: int = 0) -> ChannelPermutation:
        """Shuffle the channels, once and for all."""
        return cls(Permutation.random(channels, seed).order)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_channels(self, x, len(self.permutation.order))
        return x.index_select(-3, self.permutation.order), self.zeros_like_batch(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_channels(self, z, len(self.permutation.order))
        return z.index_select(-3, self.permutation.inverse_order), self.zeros_like_batch(z)


class Conv1x1(Transform):
    r"""An invertible 1 × 1 convolution: one learned matrix mixes the channels of every pixel.

    .. math:: z_{hw} = W x_{hw}, \qquad \log|\det J| = H W \log|\det W|

    It generalizes a permutation of the channels and starts at a random orthogonal matrix, whose log-determinant is
    0. (The kind qr draws its matrix in another way, and its determinant starts with the other sign.)

    ======== ============================ ============== ==========================
    kind     :math:`W`                    log-determinant inverse
    ======== ============================ ============== ==========================
    plain    a free matrix                O(c³)           O(c³) a batch
    lu       P L U, as in `LULinear`      O(c)            O(c³) a batch, no pivoting
    qr       Q R, as in `QRLinear`        O(c)            O(c³) a batch
    ======== ============================ ============== ==========================

    Each also costs O(c² H W) an image for the convolution itself, in both directions. Training can make a free matrix
    singular, and then its inverse and likelihood raise ValueError; the two factored kinds never are.

    Arguments:
        channels: c.
        kind: ``plain``, ``lu`` or ``qr``.
        seed: of the orthogonal matrix.

    Source: D. P. Kingma and P. Dhariwal, *Glow* (2018), section 3.2; E. Hoogeboom, R. van den Berg and M. Welling,
    *Emerging convolutions for generative normalizing flows* (2019), for QR.
    """

    event_ndim = 3

    def __init__(self, channels: int, kind: str = "lu", seed: int = 0) -> None:
        super().__init__()
        self.kind = kind
        self.linear: Linear
        if kind == "lu":
            self.linear = LULinear(channels, seed, bias=False)
        elif kind == "qr":
            self.linear = QRLinear(channels, seed=seed, bias=False)
        elif kind == "plain":
            self.linear = DenseLinear(channels, bias=False)
            with torch.no_grad():
                self.linear.matrix.copy_(LULinear(channels, seed).weight())
        else:
            raise ValueError(f"Conv1x1 expects a kind of plain, lu or qr, found {kind!r}")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_channels(self, x, self.linear.features)
        return convolve(x, self.linear.weight()), spread_over_pixels(self.linear.log_abs_det(), x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        check_channels(self, z, self.linear.features)
        return convolve(z, self.inverse_weight()), spread_over_pixels(-self.linear.log_abs_det(), z)

    def inverse_weight(self) -> Tensor:
        """Return the inverse of W, ``(c, c)``."""
        like = next(self.parameters())
        rows = torch.eye(self.linear.features, dtype=like.dtype, device=like.device)
        return self.linear.solve(rows).mT

    def extra_repr(self) -> str:
        return f"channels={self.linear.features}, kind={self.kind!r}"


class FlowStep(Transform):
    """One step of Glow: `ActNorm`, a mixing of the channels, a coupling.

    The normalization is folded into the weights of a 1 × 1 convolution, so that both together cost one convolution.

    Arguments:
        norm: of C channels.
        mixing: a `Conv1x1`, or any other transform of images, like `ChannelPermutation`.
        coupling: of C channels.

    Raises ValueError where the norm is none of images or its channels are not those of a `Conv1x1`.

    Source: D. P. Kingma and P. Dhariwal, *Glow* (2018), section 3 and figure 2a.
    """

    event_ndim = 3

    def __init__(self, norm: ActNorm, mixing: Transform, coupling: Coupling) -> None:
        super().__init__()
        channels = mixing.linear.features if isinstance(mixing, Conv1x1) else len(norm.shift)
        if norm.event_ndim != 3 or len(norm.shift) != channels:
            raise ValueError(
                f"FlowStep expects an ActNorm of images (event_ndim=3) with the {channels} channels of its mixing, "
                f"found event_ndim={norm.event_ndim} and {len(norm.shift)} channels"
            )
        self.norm = norm
        self.mixing = mixing
        self.coupling = coupling

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, log_det = self._normalize_and_mix(x)
        z, of_coupling = self.coupling(h, context)
        return z, log_det + of_coupling

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        h, of_coupling = self.coupling.inverse(z, context)
        h, of_mixing = self.mixing.inverse(h)
        x, of_norm = self.norm.inverse(h)
        return x, of_norm + of_mixing + of_coupling

    def _normalize_and_mix(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(self.mixing, Conv1x1):
            h, of_norm = self.norm(x)
            h, of_mixing = self.mixing(h)
            return h, of_norm + of_mixing
        self.norm.check(x)
        self.norm.see(x)
        weight = self.mixing.linear.weight()
        h = convolve(x, weight * self.norm.log_scale.exp(), weight @ self.norm.shift)
        return h, spread_over_pixels(self.norm.log_scale.sum() + self.mixing.linear.log_abs_det(), x)


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply ``weight (C, C)`` and ``bias (C,)`` to the channels of each pixel of ``x (*batch, C, H, W)``."""
    return nn.functional.conv2d(x.reshape(-1, *x.shape[-3:]), weight[:, :, None, None], bias).reshape(x.shape)


def spread_over_pixels(log_abs_det: Tensor, x: Tensor) -> Tensor:
    """Count the log-determinant of one pixel for all of each image ``x (*batch, C, H, W)``: H·W times."""
    return (x.shape[-1] * x.shape[-2] * log_abs_det).expand(x.shape[:-3])


def check_channels(transform: Transform, x: Tensor, channels: int) -> None:
    """Raise ValueError unless ``x`` is a batch of images of so many channels."""
    if x.dim() < 3 or x.shape[-3] != channels:
        name = type(transform).__name__
        raise ValueError(f"{name} expects an input of shape (*batch, {channels}, H, W), found {tuple(x.shape)}")
