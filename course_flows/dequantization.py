"""Noise that turns integer images into points of a density, and how much of the likelihood it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from course_flows.flow import Flow
from course_flows.nets import MLP, ResidualConvNet
from course_flows.transforms.base import Compose, Transform, sum_event
from course_flows.transforms.coupling import AffineCoupling
from course_flows.transforms.masks import checkerboard_mask, half_mask
from course_flows.transforms.preprocessing import check_levels, place_in_cells

__all__ = ["Dequantizer", "UniformDequantizer", "VariationalDequantizer", "log_probability_bound"]


class Dequantizer(nn.Module):
    r"""Draws noise :math:`u \sim q(u \mid x)` on :math:`[0, 1)^D` for integer images and says its density.

    Arguments:
        levels: number of values that a pixel can take (256, not 255, for 8-bit images).

    The points have the dtype of the module: ``.double()`` changes it.
    """

    anchor: Tensor

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"{type(self).__name__} expects at least 2 levels, found {levels}")
        self.levels = levels
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        r"""Return points :math:`y = (x + u)/\text{levels}` and :math:`\log q(u \mid x)` in nats.

        Arguments:
            images: integers ``(N, *event)`` from 0 to ``levels − 1``.
            generator: source of the noise, on the device of the images.

        Returns points ``(N, *event)`` in [0, 1), each inside the cell of its image, and log-densities ``(N,)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward (images to points)")

    def uniform_noise(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return numbers in [0, 1) in the shape of `images`, which are checked first."""
        check_levels(images, self.levels)
        return torch.rand(images.shape, dtype=self.anchor.dtype, device=images.device, generator=generator)

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


class UniformDequantizer(Dequantizer):
    """Spread each integer evenly over its cell: :math:`q(u \\mid x) = 1`, a log-density of 0.

    >>> points, log_q = UniformDequantizer(levels=4)(torch.tensor([[0, 3]]))
    >>> (points * 4).floor(), log_q
    (tensor([[0., 3.]]), tensor([0.]))

    Source: L. Theis, A. van den Oord and M. Bethge, *A note on the evaluation of generative models* (2016),
    section 3.1.
    """

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        noise = self.uniform_noise(images, generator)
        return place_in_cells(images, noise, self.levels), noise.new_zeros(len(images))


class VariationalDequantizer(Dequantizer):
    r"""Noise from a flow that sees the image, trained together with the density of the points:

    .. math:: \epsilon \sim \text{logistic}, \quad v = g^{-1}(\epsilon;\, x), \quad u = \sigma(v), \quad
        \log q(u \mid x) = \log p(\epsilon) - \log|\det \partial v / \partial \epsilon| - \sum_i \log \sigma'(v_i).

    The bound on log P(x) is short by the divergence of :math:`q(u \mid x)` from the model's own density inside the
    cell. Uniform noise asks the model to be flat there; this noise goes where the model is. A transform that is the
    identity makes it uniform, which is where `build` starts.

    Arguments:
        transform: :math:`g`, of points of the shape of the images; its networks take a context.
        levels: number of values that a pixel can take.
        encoder: network from the images, scaled to [−1, 1], to that context; None for the scaled images themselves.

    Source: J. Ho, X. Chen, A. Srinivas, Y. Duan and P. Abbeel, *Flow++* (2019), section 3.1.
    """

    def __init__(self, transform: Transform, levels: int = 256, encoder: nn.Module | None = None) -> None:
        super().__init__(levels)
        self.transform = transform
        self.encoder = nn.Identity() if encoder is None else encoder

    @classmethod
    def build(
        cls,
        event_shape: int | Sequence[int],
        levels: int = 256,
        couplings: int = 4,
        hidden: Sequence[int] = (64, 64),
        channels: int = 32,
        blocks: int = 1,
    ) -> VariationalDequantizer:
        """Return one of affine couplings that starts as uniform noise.

        Arguments:
            event_shape: D for vectors (half masks, `MLP` of `hidden` sizes) or ``(C, H, W)`` for images (checkerboards,
                `ResidualConvNet` of `channels` and `blocks`).
            levels, couplings: how many.
        """
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if len(shape) not in (1, 3):
            raise ValueError(f"VariationalDequantizer expects vectors D or images (C, H, W), found {shape}")
        layers: list[Transform] = []
        for k in range(couplings):
            flip = bool(k % 2)
            if len(shape) == 1:
                mask = half_mask(shape[0], flip)
                kept = int(mask.sum())
                net: nn.Module = MLP(kept, 2 * (shape[0] - kept), hidden, zero_init=True, context_features=shape[0])
            else:
                mask = checkerboard_mask(shape[1], shape[2], flip)
                net = ResidualConvNet(shape[0], 2 * shape[0], channels, blocks, context_channels=shape[0])
            layers.append(AffineCoupling(mask, net))
        return cls(Compose(layers), levels)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        noise = self.uniform_noise(images, generator)
        start = torch.logit(noise.clamp_min(torch.finfo(noise.dtype).eps / 4))
        v, log_det = self.transform.inverse(start, self._context(images))
        log_q = sum_event(_log_slope(start) - _log_slope(v), images.dim() - 1) - self._per_image(log_det, images)
        return place_in_cells(images, torch.sigmoid(v), self.levels), log_q

    def log_prob(self, noise: Tensor, images: Tensor) -> Tensor:
        r"""Return :math:`\log q(u \mid x)` of noise ``(N, *event)`` in (0, 1) for images ``(N, *event)``: ``(N,)``."""
        v = torch.logit(noise)
        start, log_det = self.transform(v, self._context(images))
        return sum_event(_log_slope(start) - _log_slope(v), images.dim() - 1) + self._per_image(log_det, images)

    def _context(self, images: Tensor) -> Tensor:
        return self.encoder(2 * images.to(self.anchor.dtype) / (self.levels - 1) - 1)

    def _per_image(self, log_det: Tensor, images: Tensor) -> Tensor:
        return sum_event(log_det, images.dim() - 1 - self.transform.event_ndim)


def _log_slope(v: Tensor) -> Tensor:
    """Return the log-derivative of the sigmoid, which is the log-density of a logistic variable."""
    return -softplus(v) - softplus(-v)


def log_probability_bound(
    flow: Flow,
    images: Tensor,
    dequantizer: Dequantizer,
    samples: int = 1,
    generator: torch.Generator | None = None,
    context: Tensor | None = None,
) -> Tensor:
    r"""Bound the log-probability of integer images from below, in nats an image, with gradients for training:

    .. math:: \log P(x) = \log \int p\!\left(\tfrac{x + u}{\text{levels}}\right) \frac{du}{\text{levels}^D} \;\ge\;
        \mathbb{E}\left[\log \tfrac1K \textstyle\sum_k \frac{p(y_k)}{q(u_k \mid x)}\right] - D \log \text{levels}.

    Arguments:
        flow: density of points :math:`y = (x + u)/\text{levels}` in :math:`[0, 1)^D`.
        images: integers ``(N, *event)``.
        dequantizer: draws :math:`u` and says :math:`\log q(u \mid x)`; with the dtype of the flow.
        samples: K, draws an image; the bound rises with K to the truth.
        generator: source of the noise, on the device of the images.
        context: one for each image, ``(N, …)``, for a conditional flow.

    Returns float64 ``(N,)`` on the CPU. Raises TypeError for images that are not integers, ValueError for values out
    of range.

    Source: Y. Burda, R. Grosse and R. Salakhutdinov, *Importance weighted autoencoders* (2016), for K draws;
    J. Ho et al., *Flow++* (2019), section 3.1.
    """
    if samples < 1:
        raise ValueError(f"log_probability_bound expects at least 1 sample, found {samples}")
    draws = []
    for _ in range(samples):
        points, log_q = dequantizer(images, generator)
        draws.append(flow.log_prob(points, context).cpu().double() - log_q.cpu().double())  # MPS has no float64
    dimensions = math.prod(flow.event_shape)
    return torch.stack(draws).logsumexp(dim=0) - math.log(samples) - dimensions * math.log(dequantizer.levels)
