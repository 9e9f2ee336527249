"""Densities in the plane whose shape is the point; exact log-densities where there is a closed form.

Each sampler returns ``(n, 2)`` and depends on nothing but its arguments: the same seed gives the same points.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "checkerboard",
    "checkerboard_log_prob",
    "eight_gaussians",
    "eight_gaussians_log_prob",
    "pinwheel",
    "rings",
    "rings_log_prob",
    "two_moons",
    "two_spirals",
]

RING_RADII = (1.0, 2.0, 3.0)
RING_NOISE = 0.08
GAUSSIAN_RADIUS = 3.0
GAUSSIAN_NOISE = 0.35


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def two_moons(n: int, seed: int = 0, noise: float = 0.1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Two interleaved half circles of radius 1 with Gaussian `noise`; the first n // 2 points are the upper one."""
    g = _generator(seed)
    angle = math.pi * torch.rand(n, generator=g, dtype=dtype)
    upper = torch.arange(n) < n // 2
    x = torch.where(upper, angle.cos() - 0.5, 0.5 - angle.cos())
    y = torch.where(upper, angle.sin() - 0.25, 0.25 - angle.sin())
    return torch.stack([x, y], dim=1) + noise * torch.randn(n, 2, generator=g, dtype=dtype)


def eight_gaussians(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Eight equal Gaussians of standard deviation 0.35 on a circle of radius 3."""
    g = _generator(seed)
    centers = _gaussian_centers(dtype)[torch.randint(8, (n,), generator=g)]
    return centers + GAUSSIAN_NOISE * torch.randn(n, 2, generator=g, dtype=dtype)


def eight_gaussians_log_prob(x: Tensor) -> Tensor:
    """Return the exact log-density of `eight_gaussians` at ``x (*batch, 2)`` in nats, ``(*batch)``."""
    distance = (x[..., None, :] - _gaussian_centers(x.dtype).to(x.device)).square().sum(dim=-1)
    log_each = -0.5 * distance / GAUSSIAN_NOISE**2 - math.log(2 * math.pi * GAUSSIAN_NOISE**2)
    return log_each.logsumexp(dim=-1) - math.log(8)


def _gaussian_centers(dtype: torch.dtype) -> Tensor:
    angle = torch.arange(8, dtype=dtype) * (math.pi / 4)
    return GAUSSIAN_RADIUS * torch.stack([angle.cos(), angle.sin()], dim=1)


def checkerboard(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uniform on the eight squares of side 2 of a checkerboard on ``[-4, 4)²`` with an even sum of indices."""
    g = _generator(seed)
    square = torch.randint(8, (n,), generator=g)
    row = square // 2
    column = 2 * (square % 2) + row % 2
    corner = torch.stack([column, row], dim=1).to(dtype)
    return 2 * (corner + torch.rand(n, 2, generator=g, dtype=dtype)) - 4


def checkerboard_log_prob(x: Tensor) -> Tensor:
    """Return the exact log-density of `checkerboard`: −log 32 on its squares, minus infinity elsewhere."""
    index = ((x + 4) / 2).floor()
    on = (index.sum(dim=-1) % 2 == 0) & (index >= 0).all(dim=-1) & (index < 4).all(dim=-1)
    return torch.where(on, x.new_tensor(-math.log(32.0)), x.new_tensor(-math.inf))


def rings(n: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Three equally likely rings of radius 1, 2 and 3; the radius is normal with standard deviation 0.08."""
    g = _generator(seed)
    radius = torch.tensor(RING_RADII, dtype=dtype)[torch.randint(3, (n,), generator=g)]
    radius = radius + RING_NOISE * torch.randn(n, generator=g, dtype=dtype)
    angle = 2 * math.pi * torch.rand(n, generator=g, dtype=dtype)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)


def rings_log_prob(x: Tensor) -> Tensor:
    r"""Return the log-density of `rings`: :math:`\log p(r) - \log 2\pi r`, the latter from polar coordinates.

    The chance of a negative radius (below 1e-35) is left out.
    """
    r = x.norm(dim=-1)
    offset = (r[..., None] - torch.tensor(RING_RADII, dtype=x.dtype, device=x.device)) / RING_NOISE
    log_radius = (-0.5 * offset.square()).logsumexp(dim=-1) - math.log(3 * RING_NOISE * math.sqrt(2 * math.pi))
    return log_radius - torch.log(2 * math.pi * r)


def pinwheel(n: int, seed: int = 0, arms: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """`arms` Gaussian arms that point outward and are bent: the angle turns with the exponential of the radius."""
    g = _generator(seed)
    arm = torch.randint(arms, (n,), generator=g)
    along = 1.0 + 0.3 * torch.randn(n, generator=g, dtype=dtype)
    across = 0.05 * torch.randn(n, generator=g, dtype=dtype)
    angle = arm * (2 * math.pi / arms) + 0.25 * along.exp()
    x = along * angle.cos() - across * angle.sin()
    y = along * angle.sin() + across * angle.cos()
    return 2 * torch.stack([x, y], dim=1)


def two_spirals(n: int, seed: int = 0, noise: float = 0.1, dtype: torch.dtype = torch.float32) -> Tensor:
    """Two spirals of one and a half turns, one the mirror image of the other through the origin."""
    g = _generator(seed)
    turn = 3 * math.pi * torch.rand(n, generator=g, dtype=dtype).sqrt()
    sign = 2.0 * torch.randint(2, (n,), generator=g).to(dtype) - 1
    points = torch.stack([-turn.cos() * turn, turn.sin() * turn], dim=1) / 3
    return sign[:, None] * points + noise * torch.randn(n, 2, generator=g, dtype=dtype)
