"""Steps of Glow that run together: their matrices are made as one batch, and pixels keep one layout throughout."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import linear

from course_flows.calls import by_hand, is_watched
from course_flows.conv_nets import ConvNet
from course_flows.models.fused_steps import Layout, can_be_fused, fused_steps, fused_steps_back
from course_flows.transforms.base import Compose, Transform, sum_event
from course_flows.transforms.coupling import Coupling
from course_flows.transforms.factored import LULinear, lu_inverses, lu_weights
from course_flows.transforms.mixing import Conv1x1, FlowStep, spread_over_pixels

__all__ = ["FlowSteps"]

Law = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


class FlowSteps(Compose):
    """The same map as `Compose` of the steps, faster where each of them mixes by a `Conv1x1` of kind ``lu``.

    The factors of all K convolutions are multiplied as one batch and take the normalizations in; each convolution is
    then one product of matrices over all pixels, whose channels stay side by side in memory from the first step to the
    last. If in addition all couplings are affine, bounded by the same number and conditioned by a `ConvNet` without
    context, a CPU runs the stack as one operation of autograd: networks are products of matrices as well, the gradient
    is written by hand and computes each first hidden layer once more; second derivatives work.

    In every other case the steps run one by one: with another mixing or masks of pixels, for the batch that sets the
    normalizations, and with hooks on anything inside.

    Arguments:
        steps: `FlowStep` of equal numbers of channels, either one by one or as one iterable.

    Raises TypeError for transforms that are no steps, ValueError where there are none.
    """

    def __init__(self, *steps: Transform | Iterable[Transform]) -> None:
        super().__init__(*steps)
        if not len(self):
            raise ValueError("FlowSteps expects at least one step, found none")
        for step in self:
            if not isinstance(step, FlowStep):
                raise TypeError(f"FlowSteps expects steps (FlowStep), found {type(step).__name__}")

    def __iter__(self) -> Iterator[FlowStep]:
        return iter(self.transforms)  # type: ignore[arg-type]  # a ModuleList gives any module

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps = list(self)
        if not self._run_together() or any(step.norm.waits for step in steps):
            return super().forward(x, context)
        steps[0].norm.check(x)
        log_scales, shifts = self._normalizations()
        weights = lu_weights(self._linears())
        shifts = (weights @ shifts[..., None]).squeeze(-1)
        weights = weights * log_scales.exp()[:, None]
        log_det = self._log_det(x, log_scales)
        if self._run_fused(x, context):
            layout = self._layout(x)
            planes, of_couplings = fused_steps(layout, layout.planes(x), weights, shifts, self._nets())
            return layout.image(planes).reshape(x.shape), log_det + of_couplings.view_as(log_det)
        pixels = x.movedim(-3, -1).contiguous()
        for step, weight, shift in zip(steps, weights.unbind(), shifts.unbind()):
            pixels = linear(pixels, weight, shift)
            pixels, log_slope = _couple(step.coupling, step.coupling.transform_part, pixels, context)
            log_det = log_det if log_slope is None else log_det + sum_event(log_slope, 3)
        return pixels.movedim(-1, -3), log_det

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps = list(self)
        if not self._run_together():
            return super().inverse(z, context)
        steps[0].norm.check(z)
        log_scales, shifts = self._normalizations()
        scales = (-log_scales).exp()
        weights = scales[..., None] * lu_inverses(self._linears())
        shifts = -scales * shifts
        log_det = -self._log_det(z, log_scales)
        if not torch.is_grad_enabled() and self._run_fused(z, context):
            layout = self._layout(z)
            planes, of_couplings = fused_steps_back(layout, layout.planes(z), weights, shifts, self._nets())
            return layout.image(planes).reshape(z.shape), log_det + of_couplings.view_as(log_det)
        pixels = z.movedim(-3, -1).contiguous()
        for step, weight, shift in reversed(list(zip(steps, weights.unbind(), shifts.unbind()))):
            pixels, log_slope = _couple(step.coupling, step.coupling.restore_part, pixels, context)
            pixels = linear(pixels, weight, shift)
            log_det = log_det if log_slope is None else log_det + sum_event(log_slope, 3)
        return pixels.movedim(-1, -3), log_det

    def _run_together(self) -> bool:
        steps = list(self)
        fit = all(_fits(step) and len(step.norm.shift) == len(steps[0].norm.shift) for step in steps)
        return fit and not is_watched(self.transforms)

    def _run_fused(self, x: Tensor, context: Tensor | None) -> bool:
        first = self._first_coupling()
        alike = all(can_be_fused(step.coupling, like=first) for step in self)
        return (
            alike
            and context is None
            and x.device.type == "cpu"
            and by_hand(x)
            and not any(net.waits for net in self._nets())
        )

    def _layout(self, x: Tensor) -> Layout:
        *batch, _, height, width = x.shape
        first = self._first_coupling()
        limit: float = first.bound.limit  # type: ignore[assignment, union-attr]  # a `Tanh`: see can_be_fused
        return Layout((math.prod(batch), height, width), first.partition.sizes[0], limit)

    def _first_coupling(self) -> Coupling:
        return next(iter(self)).coupling

    def _nets(self) -> list[ConvNet]:
        return [step.coupling.net for step in self]  # type: ignore[misc]  # see can_be_fused

    def _linears(self) -> list[LULinear]:
        return [step.mixing.linear for step in self]  # type: ignore[misc]  # see _fits

    def _normalizations(self) -> tuple[Tensor, Tensor]:
        """Return the log-scales and the shifts of all steps, each ``(K, C)``."""
        norms = [step.norm for step in self]
        return torch.stack([norm.log_scale for norm in norms]), torch.stack([norm.shift for norm in norms])

    def _log_det(self, x: Tensor, log_scales: Tensor) -> Tensor:
        """Return what normalizations and convolutions add to the log-determinant, ``(*batch)``."""
        of_pixel = log_scales.sum() + torch.cat([linear.log_diagonal for linear in self._linears()]).sum()
        return spread_over_pixels(of_pixel, x)


def _fits(step: FlowStep) -> bool:
    """Return whether `step` can run together with others."""
    partition = step.coupling.partition
    mixes_by_lu = isinstance(step.mixing, Conv1x1) and isinstance(step.mixing.linear, LULinear)
    return mixes_by_lu and partition.in_one_piece and not partition.in_place and partition.dim == -3


def _couple(coupling: Coupling, law: Law, pixels: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Apply a coupling's law to ``pixels (*batch, H, W, C)``; return the new ones and the log-slopes."""
    kept_first = coupling.partition.kept_first
    kept_size, moved_size = coupling.partition.sizes
    first, second = pixels.split([kept_size, moved_size] if kept_first else [moved_size, kept_size], dim=-1)
    kept, moved = (first, second) if kept_first else (second, first)
    image, log_slope = law(kept.movedim(-1, -3), moved.movedim(-1, -3), context)
    moved = image.movedim(-3, -1)
    return torch.cat([kept, moved] if kept_first else [moved, kept], dim=-1), log_slope
