"""Increasing maps of single coordinates: `LeakyReLU` and the rational-quadratic `MonotoneSpline`."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from course_flows.transforms.base import Transform, sum_event

__all__ = ["LeakyReLU", "MonotoneSpline"]


class LeakyReLU(Transform):
    r"""Scale the negative coordinates: :math:`z_i = x_i` for :math:`x_i \ge 0`, else :math:`z_i = a x_i`.

    Log-determinant :math:`\log a` times the number of negative coordinates. The kink at 0 is a set of measure zero,
    where any one-sided slope will do.

    Arguments:
        slope: :math:`a > 0`.
        event_ndim: number of dimensions of one point.
    """

    def __init__(self, slope: float = 0.1, event_ndim: int = 1) -> None:
        super().__init__()
        if not slope > 0:
            raise ValueError(f"LeakyReLU expects a positive slope (else it cannot be inverted), found {slope}")
        self.slope = slope
        self.event_ndim = event_ndim

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = torch.where(x < 0, self.slope * x, x)
        return z, sum_event((x < 0).to(x) * math.log(self.slope), self.event_ndim)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.where(z < 0, z / self.slope, z)
        return x, sum_event((z < 0).to(z) * -math.log(self.slope), self.event_ndim)

    def extra_repr(self) -> str:
        return f"slope={self.slope}, event_ndim={self.event_ndim}"


class MonotoneSpline(Transform):
    r"""Bend each coordinate by its own increasing rational-quadratic spline; the identity outside ``[-bound, bound]``.

    Inside bin :math:`k`, with :math:`\xi = (x - x_k)/w_k`, slope :math:`s_k = h_k / w_k` and knot derivatives
    :math:`\delta_k`,

    .. math:: z = y_k + h_k \frac{s_k \xi^2 + \delta_k \xi (1 - \xi)}
        {s_k + (\delta_{k+1} + \delta_k - 2 s_k)\,\xi (1 - \xi)},

    which is increasing, continuously differentiable and inverted by solving one quadratic equation. Starts as the
    identity. Cost O(D · log bins) a point in both directions and O(D · bins) a batch.

    Arguments:
        features: number of coordinates ``D`` of the points ``(*batch, D)``.
        bins: number of pieces of each spline.
        bound: half the width of the interval that is bent; standardized data fit the default.

    Source: C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, *Neural Spline Flows* (2019), section 3.1.
    """

    smallest = 1e-3

    def __init__(self, features: int, bins: int = 16, bound: float = 5.0) -> None:
        super().__init__()
        if not 2 <= bins < 1 / self.smallest or not 0 < bound < math.inf:
            raise ValueError(f"MonotoneSpline expects 2 <= bins < 1000 and bound > 0, found bins={bins}, bound={bound}")
        self.features, self.bins, self.bound = features, bins, bound
        self.widths = nn.Parameter(torch.zeros(features, bins))
        self.heights = nn.Parameter(torch.zeros(features, bins))
        at_one = math.log(math.expm1(1.0 - self.smallest))  # softplus(at_one) + smallest = 1
        self.slopes = nn.Parameter(torch.full((features, bins - 1), at_one))

    def _knots(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return knot positions x and y ``(D, bins + 1)`` and derivatives ``(D, bins + 1)``."""

        def positions(free: Tensor) -> Tensor:
            share = self.smallest + (1 - self.smallest * self.bins) * free.softmax(dim=-1)
            inner = 2 * self.bound * share.cumsum(dim=-1)[:, :-1] - self.bound
            edge = torch.full_like(inner[:, :1], self.bound)
            return torch.cat([-edge, inner, edge], dim=-1)

        slopes = self.smallest + nn.functional.softplus(self.slopes)
        one = torch.ones_like(slopes[:, :1])
        return positions(self.widths), positions(self.heights), torch.cat([one, slopes, one], dim=-1)

    def _bin(self, values: Tensor, *, of_z: bool) -> tuple[Tensor, ...]:
        """Return the bin of each value (of z or of x): its left and bottom knot, width, height, both derivatives."""
        xs, ys, slopes = self._knots()
        inner = (ys if of_z else xs)[:, 1:-1].detach().contiguous()
        index = torch.searchsorted(inner, values.detach().mT.contiguous(), right=True).mT  # (N, D)

        def at(table: Tensor, shift: int = 0) -> Tensor:
            return table.mT.gather(0, index + shift)

        left, bottom = at(xs), at(ys)
        width, height = at(xs, 1) - left, at(ys, 1) - bottom
        return left, bottom, width, height, at(slopes), at(slopes, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(x, self.features)
        flat = x.reshape(-1, self.features)
        inside = flat.abs() < self.bound
        safe = torch.where(inside, flat, torch.zeros_like(flat))
        left, bottom, width, height, d0, d1 = self._bin(safe, of_z=False)
        xi = ((safe - left) / width).clamp(0, 1)
        z, log_slope = _rational_quadratic(xi, bottom, width, height, d0, d1)
        z = torch.where(inside, z, flat)
        log_det = torch.where(inside, log_slope, torch.zeros_like(flat)).sum(dim=-1)
        return z.reshape(x.shape), log_det.reshape(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(z, self.features)
        flat = z.reshape(-1, self.features)
        inside = flat.abs() < self.bound
        safe = torch.where(inside, flat, torch.zeros_like(flat))
        left, bottom, width, height, d0, d1 = self._bin(safe, of_z=True)
        slope, rise = height / width, safe - bottom
        a = height * (slope - d0) + rise * (d0 + d1 - 2 * slope)
        b = height * d0 - rise * (d0 + d1 - 2 * slope)
        c = -slope * rise
        xi = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
        xi = xi.clamp(0, 1)  # rounding must not leave the bin
        _, log_slope = _rational_quadratic(xi, bottom, width, height, d0, d1)
        x = torch.where(inside, left + xi * width, flat)
        log_det = -torch.where(inside, log_slope, torch.zeros_like(flat)).sum(dim=-1)
        return x.reshape(z.shape), log_det.reshape(z.shape[:-1])

    def extra_repr(self) -> str:
        return f"features={self.features}, bins={self.bins}, bound={self.bound}"


def _rational_quadratic(
    xi: Tensor, bottom: Tensor, width: Tensor, height: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the spline's value and the logarithm of its slope at ``xi`` in [0, 1] of a bin."""
    slope, mix = height / width, xi * (1 - xi)
    denominator = slope + (d0 + d1 - 2 * slope) * mix
    value = bottom + height * (slope * xi.square() + d0 * mix) / denominator
    numerator = slope.square() * (d1 * xi.square() + 2 * slope * mix + d0 * (1 - xi).square())
    return value, numerator.log() - 2 * denominator.log()
