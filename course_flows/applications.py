"""What a trained flow is used for: ways between two data points, and directions that change an attribute.

Put the flow into eval mode first. In training mode `BatchNorm` takes mean and variance from the points that it is
given, so that no walk ends where it should, and a flow that was never trained sets its `ActNorm` layers from them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from course_flows.flow import Flow

__all__ = ["attribute_direction", "interpolate", "move_along"]


@torch.no_grad()
def interpolate(flow: Flow, start: Tensor, end: Tensor, steps: int = 9, context: Tensor | None = None) -> Tensor:
    r"""Walk from one data point to another on a straight line between their latents:

    .. math:: x_t = f^{-1}\big((1 - t)\, f(x_0) + t\, f(x_1)\big), \qquad t = 0, \dots, 1.

    Arguments:
        flow: whose latents are used.
        start, end: data points ``(*batch, *event)``, of equal shape.
        steps: how many points each walk has, its two ends among them.
        context: as in `Flow.encode`, the same for all of a walk.

    Returns ``(steps, *batch, *event)``; the first and the last are ``start`` and ``end`` up to rounding.
    Raises ValueError for fewer than 2 steps and for points of different shapes.

    Cost: two passes forward and one inverse for each step.

    Source: D. P. Kingma and P. Dhariwal, *Glow* (2018), section 6.

    >>> from course_flows.distributions import StandardNormal
    >>> from course_flows.transforms import Diagonal
    >>> interpolate(Flow(Diagonal(1), StandardNormal(1)), torch.zeros(1), torch.ones(1), steps=3)
    tensor([[0.0000],
            [0.5000],
            [1.0000]])
    """
    if steps < 2 or start.shape != end.shape:
        raise ValueError(
            "interpolate expects at least 2 steps and two ends of equal shape, "
            f"found {steps} steps, {tuple(start.shape)} and {tuple(end.shape)}"
        )
    first, last = flow.encode(start, context), flow.encode(end, context)
    shares = torch.linspace(0, 1, steps, dtype=first.dtype, device=first.device)
    return torch.stack([flow.decode(torch.lerp(first, last, share), context) for share in shares])


@torch.no_grad()
def attribute_direction(flow: Flow, having: Tensor, lacking: Tensor, context: Tensor | None = None) -> Tensor:
    r"""Return the mean latent of the points that have an attribute minus that of those that lack it.

    .. math:: d = \frac{1}{N} \sum_{i=1}^{N} f(x_i^+) - \frac{1}{M} \sum_{j=1}^{M} f(x_j^-)

    Arguments:
        flow: whose latents are used.
        having, lacking: data points ``(N, *event)`` and ``(M, *event)``.
        context: as in `Flow.encode`, the same for all points.

    Returns ``(*event)``, to be given to `move_along`. Raises ValueError where a set is empty or no batch of points.

    Source: D. P. Kingma and P. Dhariwal, *Glow* (2018), section 6.
    """
    batches = having, lacking
    if any(batch.shape[1:] != flow.event_shape or not len(batch) for batch in batches):
        expected = ", ".join(map(str, ("N", *flow.event_shape)))
        raise ValueError(
            f"attribute_direction expects two batches of shape ({expected}), those that have the attribute and those "
            f"that lack it, neither empty, found {tuple(having.shape)} and {tuple(lacking.shape)}"
        )
    return flow.encode(having, context).mean(dim=0) - flow.encode(lacking, context).mean(dim=0)


@torch.no_grad()
def move_along(
    flow: Flow, x: Tensor, direction: Tensor, amounts: Sequence[float], context: Tensor | None = None
) -> Tensor:
    r"""Move the latents of data points along a direction: :math:`f^{-1}(f(x) + a\, d)` for each amount :math:`a`.

    Arguments:
        flow: whose latents are used.
        x: data points ``(*batch, *event)``.
        direction: ``(*event)``, as from `attribute_direction`.
        amounts: an amount of 0 gives ``x`` up to rounding, one of 1 what the attribute changes on average.
        context: as in `Flow.encode`.

    Returns ``(len(amounts), *batch, *event)``. Raises ValueError where the direction has another shape.
    """
    if direction.shape != flow.event_shape or not len(amounts):
        raise ValueError(
            f"move_along expects a direction of shape {tuple(flow.event_shape)} and at least one amount, "
            f"found {tuple(direction.shape)} and {len(amounts)} amounts"
        )
    z = flow.encode(x, context)
    return torch.stack([flow.decode(z + amount * direction, context) for amount in amounts])
