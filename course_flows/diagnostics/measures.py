"""What the doctor measures of one layer: Jacobian, inverse, scales."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_flows.transforms.base import Inverse, Transform
from course_flows.transforms.coupling import AffineCoupling, LearnedTanh, Tanh

__all__ = ["Jacobian", "Scales", "log_scales", "measure_jacobian", "reconstruction_error"]

LANCZOS_STEPS = 30
PROBES = 8
NEAR_THE_BOUND = 0.95


@dataclass(frozen=True)
class Jacobian:
    """What is known of the Jacobian of a layer at one point.

    Attributes:
        log_det: log of the absolute determinant.
        standard_error: of an estimate; 0 where it is exact.
        largest, smallest: singular values; for an estimate the smallest is an upper bound.
        exact: whether the whole matrix was computed.
    """

    log_det: float
    standard_error: float
    largest: float
    smallest: float
    exact: bool

    @property
    def condition(self) -> float:
        """Largest over smallest singular value."""
        return self.largest / self.smallest if self.smallest > 0 else math.inf


def measure_jacobian(transform: Transform, x: Tensor, context: Tensor | None, exact_limit: int) -> Jacobian:
    """Measure the Jacobian at one point ``x (1, *event)``: the whole matrix up to `exact_limit` values, else estimates.

    The matrix costs one backward pass of as many copies of the point as it has values.
    """
    n = x[0].numel()
    if n > exact_limit:
        return _estimate(transform, x, context)
    points, z = _copies(transform, x, context, n)
    rows = torch.eye(n, dtype=x.dtype, device=x.device).reshape(n, *z.shape[1:])
    (jacobian,) = torch.autograd.grad(z, points, rows)
    jacobian = jacobian.reshape(n, n)
    values = torch.linalg.svdvals(jacobian)
    log_det = torch.linalg.slogdet(jacobian).logabsdet.item()
    return Jacobian(log_det, 0.0, values[0].item(), values[-1].item(), True)


def _copies(transform: Transform, x: Tensor, context: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
    """Return `count` copies of a point, which want gradients, and their images."""
    points = x.detach().expand(count, *x.shape[1:]).clone().requires_grad_()
    shared = None if context is None else context.expand(count, *context.shape[1:])
    with torch.enable_grad():
        return points, transform(points, shared)[0]


def _estimate(transform: Transform, x: Tensor, context: Tensor | None) -> Jacobian:
    r"""Estimate :math:`\log|\det J| = \tfrac12 \operatorname{tr} \log J^\top J` by Lanczos steps along random vectors.

    Source: S. Ubaru, J. Chen and Y. Saad, *Fast estimation of tr(f(A)) via stochastic Lanczos quadrature* (2017).
    """
    n = x[0].numel()
    points, z = _copies(transform, x, context, PROBES)
    weights = torch.zeros_like(z, requires_grad=True)
    with torch.enable_grad():
        (pulled,) = torch.autograd.grad(z, points, weights, create_graph=True)

    def square(v: Tensor) -> Tensor:
        """JᵀJ v for each copy: forward through a gradient of a gradient, then back."""
        pushed = torch.autograd.grad(pulled, weights, v.reshape(points.shape), retain_graph=True)[0]
        return torch.autograd.grad(z, points, pushed, retain_graph=True)[0].reshape(PROBES, n)

    source = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (PROBES, n), generator=source) * 2 - 1
    v = signs.to(x) / math.sqrt(n)
    basis, diagonal, beside = [v], [], []
    for _ in range(min(LANCZOS_STEPS, n)):
        w = square(basis[-1])
        diagonal.append((w * basis[-1]).sum(dim=1))
        for _ in range(2):  # twice is enough to keep the basis orthogonal
            for b in basis:
                w = w - (w * b).sum(dim=1, keepdim=True) * b
        length = w.norm(dim=1, keepdim=True)
        going_on = length > 1e-10 * diagonal[-1].abs()[:, None]
        beside.append(torch.where(going_on, length, 0.0)[:, 0])
        basis.append(torch.where(going_on, w / length, 0.0))
    size = len(diagonal)
    tridiagonal = torch.diag_embed(torch.stack(diagonal, dim=1))
    off = torch.stack(beside[: size - 1], dim=1) if size > 1 else tridiagonal.new_zeros(PROBES, 0)
    tridiagonal = tridiagonal + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)
    squares, vectors = torch.linalg.eigh(tridiagonal)
    shares = vectors[:, 0].square()
    logs = squares.clamp_min(torch.finfo(x.dtype).tiny).log()
    found = 0.5 * n * torch.where(shares > 1e-14, shares * logs, 0.0).sum(dim=1)
    seen = squares[shares > 1e-14].clamp_min(0).sqrt()
    error = found.std().item() / math.sqrt(PROBES)
    return Jacobian(found.mean().item(), error, seen.max().item(), seen.min().item(), False)


@torch.no_grad()
def reconstruction_error(transform: Transform, x: Tensor, context: Tensor | None) -> float:
    """Return the largest error of ``inverse(forward(x))``, for values beyond 1 as a part of their size.

    Infinite where the inverse raises an error or gives numbers that are not finite: it is as wrong as can be.
    """
    try:
        back = transform.inverse(transform(x, context)[0], context)[0]
    except Exception:
        return math.inf
    error = ((back - x).abs() / x.abs().clamp_min(1.0)).max().item()
    return error if math.isfinite(error) else math.inf


@dataclass(frozen=True)
class Scales:
    """Log-scales of an affine coupling: their range, and the share of them near their bound (None without a bound)."""

    low: float
    high: float
    near_the_bound: float | None


@torch.no_grad()
def log_scales(transform: Transform, x: Tensor, context: Tensor | None) -> Scales | None:
    """Return the log-scales of the moved values at points ``x (N, *event)``; None for other layers."""
    coupling = transform.transform if isinstance(transform, Inverse) else transform
    if not isinstance(coupling, AffineCoupling):
        return None
    found: list[Tensor] = []
    handle = coupling.bound.register_forward_hook(lambda module, inputs, out: found.append(out))
    try:
        transform(x, context)
    finally:
        handle.remove()
    (scales,) = found
    limit = _limit(coupling.bound)
    near = None if limit is None else (scales.abs() > NEAR_THE_BOUND * limit.to(scales)).expand_as(scales)
    if coupling.partition.in_place:
        moved = ~coupling.partition.mask.expand(scales.shape)
        scales, near = scales[moved], None if near is None else near[moved]
    share = None if near is None else near.double().mean().item()
    return Scales(scales.min().item(), scales.max().item(), share)


def _limit(bound: nn.Module) -> Tensor | None:
    if isinstance(bound, Tanh):
        return torch.tensor(bound.limit)
    return bound.limit.detach().abs() if isinstance(bound, LearnedTanh) else None
