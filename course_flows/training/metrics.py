"""Bits per dimension of images, with every constant in its place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_flows.dequantization import Dequantizer, UniformDequantizer, log_probability_bound
from course_flows.flow import Flow
from course_flows.transforms.preprocessing import check_levels

__all__ = ["BitsPerDim", "bits_per_dim", "evaluation"]


@contextmanager
def evaluation(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode for a while; afterwards each part is in the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@dataclass(frozen=True)
class BitsPerDim:
    """Result of `bits_per_dim`: an upper bound on the cost of a pixel.

    Attributes:
        bits: mean bits per dimension over the images.
        standard_error: of that mean over images.
        nats: mean lower bound on log P(image), in nats an image.
        images, samples, dimensions: how many images, noise samples an image, and pixels the mean is taken over.
    """

    bits: float
    standard_error: float
    nats: float
    images: int
    samples: int
    dimensions: int

    def __str__(self) -> str:
        return f"{self.bits:.3f} ± {self.standard_error:.3f} bits/dim ({self.images} images, {self.samples} samples)"


@torch.no_grad()
def bits_per_dim(
    flow: Flow,
    images: Tensor,
    levels: int = 256,
    samples: int = 1,
    real_pixels: int | None = None,
    generator: torch.Generator | None = None,
    batch_size: int = 512,
    dequantizer: Dequantizer | None = None,
    context: Tensor | None = None,
) -> BitsPerDim:
    r"""Bound the cost of integer images under a flow of dequantized ones, in bits per dimension.

    The flow models :math:`y = (x + u)/\text{levels} \in [0, 1)^D`. The probability of an image is the integral of
    the density over its cell, which Jensen's inequality bounds from below (see `log_probability_bound`):

    .. math:: \log P(x) = \log \mathbb{E}_{u \sim q}\!\left[\frac{p(y)}{q(u \mid x)}\right] - D \log \text{levels}
        \;\ge\; \mathbb{E}\left[\log \tfrac1K \textstyle\sum_k \frac{p(y_k)}{q(u_k \mid x)}\right]
        - D \log \text{levels},

    tighter for more samples K; q is 1 for uniform noise. Bits per dimension are :math:`-\log P(x) / (D \log 2)`. A
    flow that is uniform on the cube gets exactly :math:`\log_2 \text{levels}`: 8 bits for 8-bit images.

    Arguments:
        flow: density of the dequantized images; any logit or scaling is a part of its transform.
        images: integers ``(N, *event)`` from 0 to ``levels − 1``.
        levels: number of values that a pixel can take (256, not 255, for 8-bit images).
        samples: K, noise samples an image.
        real_pixels: the number of dimensions to divide by where padding made the event larger; the padded pixels
            still cost what the flow gives them.
        generator: source of the noise, on the device of the images.
        batch_size: images in one pass.
        dequantizer: where the noise comes from; uniform noise if None.
        context: one for each image, ``(N, …)``, for a conditional flow, whose bits are those of :math:`P(x \mid c)`.

    Raises TypeError for images that are not integers, ValueError for values or shapes out of range.

    Source: L. Theis, A. van den Oord and M. Bethge (2016), section 3.1; Y. Burda, R. Grosse and R. Salakhutdinov
    (2016) for the bound with K samples.
    """
    check_levels(images, levels)
    dequantizer = dequantizer or UniformDequantizer(levels).to(flow.base.anchor)
    if dequantizer.levels != levels:
        raise ValueError(f"expected a dequantizer of {levels} levels, found one of {dequantizer.levels}")
    if samples < 1 or len(images) < 1:
        raise ValueError(f"expected at least 1 image and 1 sample, found {len(images)} images and {samples} samples")
    if images.shape[1:] != flow.event_shape:
        expected = ", ".join(map(str, ("N", *flow.event_shape)))
        raise ValueError(f"bits_per_dim expects images of shape ({expected}), found {tuple(images.shape)}")
    if context is not None and len(context) != len(images):
        raise ValueError(f"bits_per_dim expects a context for each of {len(images)} images, found {len(context)}")
    modelled = math.prod(flow.event_shape)
    dimensions = modelled if real_pixels is None else real_pixels
    if not 1 <= dimensions <= modelled:
        raise ValueError(f"expected 1 to {modelled} real pixels, found {dimensions}")
    starts = range(0, len(images), batch_size)
    contexts = [None] * len(starts) if context is None else context.split(batch_size)
    with evaluation(flow), evaluation(dequantizer):
        nats = [
            log_probability_bound(flow, images[k : k + batch_size], dequantizer, samples, generator, c)
            for k, c in zip(starts, contexts)
        ]
    log_probability = torch.cat(nats)
    bits = -log_probability / (dimensions * math.log(2))
    error = bits.std().item() / math.sqrt(len(bits)) if len(bits) > 1 else math.nan
    return BitsPerDim(bits.mean().item(), error, log_probability.mean().item(), len(images), samples, dimensions)
