"""From stored integers to unbounded real numbers: dequantization and the logit map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from course_flows.calls import has_values
from course_flows.transforms.base import Transform, sum_event

__all__ = ["Logit", "check_levels", "dequantize", "place_in_cells", "quantize"]


class Logit(Transform):
    r"""Open the unit interval: :math:`z = \operatorname{logit}(\alpha + (1 - 2\alpha)\,x)` for :math:`x \in [0, 1]`.

    With :math:`s = \alpha + (1-2\alpha)x` the log-determinant is
    :math:`\sum_i \left[\log(1 - 2\alpha) - \log s_i - \log(1 - s_i)\right]`. A positive :math:`\alpha` keeps the ends
    0 and 1 finite.

    Arguments:
        alpha: :math:`0 \le \alpha < 1/2`; the MAF paper takes 1e-6 on MNIST and 0.05 on CIFAR-10.
        event_ndim: number of dimensions of one point.

    The latent space is all of R, whose image under ``inverse`` is a little wider than [0, 1]: from
    :math:`-\alpha/(1-2\alpha)` to :math:`1 + \alpha/(1-2\alpha)`. ``forward`` takes that interval, so that a flow can
    score its own samples, and raises ValueError outside.

    Source: G. Papamakarios, T. Pavlakou and I. Murray, *Masked autoregressive flow for density estimation* (2017),
    supplementary material, in this symmetric form; Real NVP (2017), section 4.1, has 1 - alpha in place of 1 - 2 alpha.
    """

    def __init__(self, alpha: float = 0.05, event_ndim: int = 1) -> None:
        super().__init__()
        if not 0 <= alpha < 0.5:
            raise ValueError(f"Logit expects 0 <= alpha < 0.5, found {alpha}")
        self.alpha = alpha
        self.event_ndim = event_ndim

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        low, high = self.alpha + (1 - 2 * self.alpha) * x, self.alpha + (1 - 2 * self.alpha) * (1 - x)
        if x.numel() and has_values(x) and not (low.amin() > 0 and high.amin() > 0):
            raise ValueError(
                f"Logit expects numbers in [0, 1], found {x.amin().item():.4g} to {x.amax().item():.4g}; "
                "divide by the number of levels first"
            )
        z = low.log() - high.log()  # 1 - s from 1 - x: no digits are lost near 1
        return z, self._log_det(z)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha), -self._log_det(z)

    def _log_det(self, z: Tensor) -> Tensor:
        log_slope = nn.functional.softplus(z) + nn.functional.softplus(-z) + math.log(1 - 2 * self.alpha)
        return sum_event(log_slope, self.event_ndim)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, event_ndim={self.event_ndim}"


def check_levels(images: Tensor, levels: int) -> None:
    """Raise unless `images` holds integers from 0 to ``levels − 1``."""
    if images.is_floating_point() or images.is_complex() or images.dtype == torch.bool:
        raise TypeError(
            f"expected integer images with values 0 to {levels - 1}, found {images.dtype}; "
            "a likelihood of real numbers is not comparable with one of pixels"
        )
    if images.numel() and (int(images.min()) < 0 or int(images.max()) >= levels):
        raise ValueError(
            f"expected integers from 0 to {levels - 1} (levels={levels}), "
            f"found {int(images.min())} to {int(images.max())}"
        )


def dequantize(
    images: Tensor, levels: int = 256, generator: torch.Generator | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    r"""Spread each integer over its cell: :math:`(x + u)/\text{levels}` with :math:`u \sim U[0, 1)`, in [0, 1).

    Arguments:
        images: integers from 0 to ``levels − 1``, any shape.
        levels: number of values that a pixel can take: 256 for 8-bit images, 17 for scikit-learn's digits.
        generator: source of the noise; it must live on the device of `images`.
        dtype: floating dtype of the result, by default torch's.

    Raises TypeError for images that are not integers and ValueError for values out of range.

    Source: L. Theis, A. van den Oord and M. Bethge, *A note on the evaluation of generative models* (2016),
    section 3.1.
    """
    check_levels(images, levels)
    dtype = dtype or torch.get_default_dtype()
    noise = torch.rand(images.shape, dtype=dtype, device=images.device, generator=generator)
    return place_in_cells(images, noise, levels)


def place_in_cells(images: Tensor, noise: Tensor, levels: int) -> Tensor:
    """Return ``(images + noise) / levels`` for noise in [0, 1], rounded so that `quantize` finds the images again.

    Raises ValueError where the dtype of the noise has too few digits for so many levels.
    """
    eps = torch.finfo(noise.dtype).eps
    if levels * eps > 1 / 8:
        raise ValueError(f"{levels} levels need more digits than {noise.dtype} has: use torch.float32")
    low = images.to(noise.dtype)
    return ((low + noise) / levels).clamp(low * ((1 + 2 * eps) / levels), (low + 1) * ((1 - 2 * eps) / levels))


def quantize(values: Tensor, levels: int = 256) -> Tensor:
    """Return the integer whose cell holds each value of [0, 1): what `dequantize` started from, as int64."""
    return (values * levels).floor().clamp(0, levels - 1).long()
