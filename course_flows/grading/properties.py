"""Checks that cannot be talked round: for functions that are only seen from outside, through a sandbox.

Every helper raises `PropertyError` with a sentence for the student: what was found, never the hidden input.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "PropertyError",
    "assert_close",
    "finite_difference_jacobian",
    "finite_difference_log_det",
    "same_distribution",
    "shuffled",
    "total_mass",
]

STEPS = {torch.float64: 1e-4, torch.float32: 1e-2}
Batched = Callable[[Tensor], Tensor]


class PropertyError(AssertionError):
    """A property does not hold; the text is for the student."""


def assert_close(
    found: Tensor | float,
    expected: Tensor | float,
    tolerance: float,
    *,
    relative: float = 0.0,
    what: str = "the result",
) -> None:
    """Require ``max |found − expected| − relative·|expected| ≤ tolerance``, with equal shapes, types and no NaN.

    >>> assert_close(torch.zeros(0, 5), torch.zeros(5), 1.0)
    Traceback (most recent call last):
    ...
    course_flows.grading.properties.PropertyError: the result has shape (0, 5), expected is shape (5,)
    """
    if not isinstance(found, Tensor) or not isinstance(expected, Tensor):
        found = torch.as_tensor(found, dtype=torch.float64)
        expected = torch.as_tensor(expected, dtype=torch.float64)
    if found.shape != expected.shape:
        raise PropertyError(f"{what} has shape {tuple(found.shape)}, expected is shape {tuple(expected.shape)}")
    if found.dtype != expected.dtype:
        raise PropertyError(f"{what} has dtype {found.dtype}, expected is {expected.dtype}")
    if found.numel() == 0:
        return
    wide = torch.complex128 if found.is_complex() else torch.float64
    found, expected = found.detach().to(wide), expected.detach().to(wide)
    same = found == expected
    error = torch.where(same, 0.0, (found - expected).abs())
    allowed = tolerance + relative * torch.where(same, 0.0, expected.abs())
    if not bool((error <= allowed).all()):
        worst = float(error.nan_to_num(nan=math.inf).max())
        raise PropertyError(f"{what} differs from what is right by up to {worst:.2g}, allowed is {tolerance:.2g}")


def shuffled(
    call: Batched, x: Tensor, rng: torch.Generator, decoys: Tensor | None = None, chunk: int | None = None
) -> Tensor:
    """Return ``call`` of every row of ``x``, asked in random order, mixed with decoys, in batches of odd sizes.

    Shapes: ``x`` is (N, …), ``call`` maps (n, …) to (n, …). What a function says about a point must not depend on
    the other points of its batch, so the answer must be that of one ordered call. Decoys are by default jittered
    copies of a third of the rows. ``chunk`` is the typical batch size, by default a third of all rows.
    """
    if decoys is None:
        rows = torch.randperm(len(x), generator=rng)[: max(1, len(x) // 3)]
        decoys = x[rows] + 0.1 * torch.randn(x[rows].shape, generator=rng, dtype=x.dtype)
    points = torch.cat([x, decoys])
    order = torch.randperm(len(points), generator=rng)
    typical = chunk or max(1, len(points) // 3)
    parts, start = [], 0
    while start < len(points):
        size = max(1, typical + int(torch.randint(-(typical // 3), typical // 3 + 1, (1,), generator=rng)))
        parts.append(call(points[order[start : start + size]]))
        start += size
    answers = torch.cat(parts)
    result = torch.empty_like(answers)
    result[order] = answers
    return result[: len(x)]


def finite_difference_jacobian(
    call: Batched, x: Tensor, rng: torch.Generator | None = None, *, step: float | None = None
) -> Tensor:
    """Return the Jacobian of ``call`` at every row of ``x`` by differences of fourth order.

    ``f'(x) ≈ (8 (f(x+h) − f(x−h)) − (f(x+2h) − f(x−2h))) / 12h``. Shapes: ``x`` is (N,) for functions of one number or
    (N, *event); ``call`` maps a batch of n points to n values of any shape; the result is (N, outputs, inputs), with
    everything flattened. The points are asked shuffled, with decoys, in odd batches. Errors for a smooth function:
    about 1e-11 in float64, 1e-4 in float32. Costs 4·inputs evaluations for each row.
    """
    rng = rng or torch.Generator().manual_seed(0)
    h = step or STEPS.get(x.dtype, 1e-2)
    flat = x.reshape(len(x), -1)
    count, inputs = flat.shape
    shifts = h * torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=x.dtype)
    moves = shifts[:, None, None] * torch.eye(inputs, dtype=x.dtype)
    stencil = flat[:, None, None, :] + moves[None]
    points = stencil.reshape(count * 4 * inputs, *x.shape[1:])
    values = shuffled(call, points, rng).reshape(count, 4, inputs, -1)
    change = 8 * (values[:, 0] - values[:, 1]) - (values[:, 2] - values[:, 3])
    return (change / (12 * h)).transpose(1, 2)


def finite_difference_log_det(
    call: Batched, x: Tensor, rng: torch.Generator | None = None, *, step: float | None = None
) -> Tensor:
    """Return ``log |det J|`` of ``call`` at every row of ``x``, shape (N,); see `finite_difference_jacobian`."""
    jacobian = finite_difference_jacobian(call, x, rng, step=step)
    if jacobian.shape[1] != jacobian.shape[2]:
        raise PropertyError(f"the map takes {jacobian.shape[2]} numbers to {jacobian.shape[1]}: it has no determinant")
    return torch.linalg.slogdet(jacobian)[1]


def total_mass(
    log_prob: Batched,
    dimension: int,
    rng: torch.Generator,
    *,
    center: float | Tensor = 0.0,
    scale: float | Tensor = 2.0,
    samples: int = 20_000,
    degrees: int = 3,
    dtype: torch.dtype = torch.float64,
) -> tuple[float, float]:
    """Estimate ``∫ exp(log_prob(x)) dx``; return it with its standard error.

    Importance sampling from independent Student-t variables at ``center`` with ``scale``, whose tails are heavier than
    those of the densities of this course, asked in batches of random sizes: a density that normalizes over its batch,
    or over one fixed grid, is found out. ``dimension`` 0 means points of shape (n,), else (n, dimension).
    """
    shape = (samples,) if dimension == 0 else (samples, dimension)
    normal = torch.randn(shape, generator=rng, dtype=torch.float64)
    squares = torch.randn((degrees, *shape), generator=rng, dtype=torch.float64).square().sum(0)
    t = normal / (squares / degrees).sqrt()
    proposal = torch.distributions.StudentT(torch.tensor(float(degrees), dtype=torch.float64))
    points = center + scale * t
    width = torch.as_tensor(scale, dtype=torch.float64).expand(points.shape)
    log_q = proposal.log_prob(t) - width.log()
    if dimension:
        log_q = log_q.sum(-1)
    parts, start = [], 0
    while start < samples:
        size = int(torch.randint(samples // 40 + 1, samples // 8 + 2, (1,), generator=rng))
        parts.append(log_prob(points[start : start + size].to(dtype)).to(torch.float64))
        start += size
    weights = (torch.cat(parts) - log_q).exp()
    return float(weights.mean()), float(weights.std() / math.sqrt(samples))


def same_distribution(
    found: Tensor,
    reference: Tensor,
    rng: torch.Generator,
    *,
    features: int = 64,
    threshold: float = 5.0,
    what: str = "the samples",
) -> None:
    """Require that two independent samples, (N,) or (N, D) each, come from one distribution.

    Compares means, squares and random Fourier features by their z-scores; at n = 5000 a scale wrong by 10 % is always
    found and the right distribution practically never refused (threshold 5 standard errors). Repeated rows are refused.
    """
    found, reference = (s.to(torch.float64).reshape(len(s), -1) for s in (found, reference))
    if found.shape[1] != reference.shape[1]:
        raise PropertyError(f"{what} have {found.shape[1]} columns, expected are {reference.shape[1]}")
    if len(torch.unique(found, dim=0)) < 0.99 * len(found):
        raise PropertyError(f"{what} repeat: only {len(torch.unique(found, dim=0))} of {len(found)} are distinct")
    center, spread = reference.mean(0), reference.std(0).clamp_min(1e-12)
    a, b = (found - center) / spread, (reference - center) / spread
    frequencies = torch.randn(a.shape[1], features, generator=rng, dtype=torch.float64)
    groups = {
        "mean": (a, b),
        "spread": (a.square().clamp_max(100), b.square().clamp_max(100)),
        "shape": (
            torch.cat([(a @ frequencies).cos(), (a @ frequencies).sin()], 1),
            torch.cat([(b @ frequencies).cos(), (b @ frequencies).sin()], 1),
        ),
    }
    for name, (left, right) in groups.items():
        error = (left.var(0) / len(left) + right.var(0) / len(right)).sqrt().clamp_min(1e-12)
        score = float(((left.mean(0) - right.mean(0)).abs() / error).max())
        if not score <= threshold:
            off = f"{score:.1f} standard errors off, allowed are {threshold:.0f}"
            raise PropertyError(f"{what} have the wrong {name}: {off}")
