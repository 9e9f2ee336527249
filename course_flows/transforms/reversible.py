"""Train deep stacks with activation memory that does not grow with their depth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from course_flows.transforms.base import Compose, Transform, sum_event
from course_flows.transforms.normalization import BatchNorm

__all__ = ["ReversibleCompose"]

CHANGES_IN_TRAINING = (BatchNorm, _BatchNorm, _DropoutNd)


class ReversibleCompose(Compose):
    """A `Compose` whose backward pass computes the inputs of its transforms anew, from the output, by their inverses.

    Autograd keeps the inputs of every operation until the backward pass; here it keeps the output alone. The backward
    pass goes through the transforms from last to first: inverse, forward once more with gradients on, gradients of
    this one transform. That costs about one more forward and one more inverse; the memory is that of one transform.
    The values of ``forward`` are exactly those of `Compose`, the gradients are equal up to the rounding of the inverses
    (see `course_flows.diagnostics`). ``inverse`` is not changed, and inside `torch.func` it is a plain `Compose`.

    Arguments:
        transforms: as for `Compose`. In training mode none may hold a `BatchNorm`, whose inverse does not undo its
            forward there, or draw random numbers; ``forward`` raises ValueError for the former.

    Second derivatives cannot be taken through it. As elsewhere in torch, the backward pass refuses parameters that an
    optimizer has changed since the forward pass.

    Source: A. Gomez, M. Ren, R. Urtasun and R. Grosse, *The reversible residual network* (2017).
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.training and any(isinstance(part, CHANGES_IN_TRAINING) for part in self.modules()):
            raise ValueError(
                "ReversibleCompose expects transforms whose inverse undoes their forward in training mode, found batch "
                "normalization or dropout: leave it out, or use Compose"
            )
        if not torch.is_grad_enabled() or torch._C._functorch.maybe_current_level() is not None:
            return super().forward(x, context)
        parameters = [p for p in self.parameters() if p.requires_grad]
        return _Recompute.apply(self, x, context, *parameters)

    def plain_forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run `Compose.forward`."""
        return super().forward(x, context)


class _Recompute(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stack: ReversibleCompose, x: Tensor, context: Tensor | None, *parameters: Tensor) -> Any:
        ctx.stack, ctx.parameters = stack, parameters
        ctx.precision = _precision_of_now(x.device.type)
        with ctx.precision():
            z, log_det = stack.plain_forward(x, context)
        ctx.save_for_backward(z, context, *parameters)  # the parameters for torch's check that nobody changed them
        return z, log_det

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_z: Tensor, grad_log_det: Tensor) -> Any:
        z, context, *_ = ctx.saved_tensors
        if context is not None:
            context = context.detach().requires_grad_(ctx.needs_input_grad[2])
        wanted = [*ctx.parameters, context]
        grads: list[Tensor | None] = [None] * len(wanted)
        places = {id(tensor): k for k, tensor in enumerate(wanted)}
        for transform in reversed(list(ctx.stack)):
            with ctx.precision():
                z, grad_z, found = _step_back(transform, z.detach(), context, grad_z, grad_log_det)
            for tensor, grad in found:
                k = places[id(tensor)]
                before = grads[k]
                grads[k] = grad if before is None else before + grad
        return None, grad_z, grads[-1], *grads[:-1]


def _precision_of_now(device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return what makes contexts of the precision of now. No cache: a weight cast without gradients would stay so."""
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)
    return partial(torch.autocast, device_type, dtype=dtype, enabled=enabled, cache_enabled=False)


def _step_back(
    transform: Transform, z: Tensor, context: Tensor | None, grad_z: Tensor, grad_log_det: Tensor
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Return the input of one transform, its gradient, and the gradients of the parameters and of the context."""
    with torch.no_grad():
        x = transform.inverse(z, context)[0]
    x.requires_grad_()
    with torch.enable_grad():
        out, log_det = transform(x, context)
        log_det = sum_event(log_det, log_det.dim() - grad_log_det.dim())  # a scalar transform says one for each value
    wanted = [x, *(p for p in transform.parameters() if p.requires_grad)]
    if context is not None and context.requires_grad:
        wanted.append(context)
    outputs, grads = [out], [grad_z]
    if log_det.requires_grad:
        outputs.append(log_det)
        grads.append(grad_log_det)
    found = torch.autograd.grad(outputs, wanted, grads, allow_unused=True)
    return x, found[0], [(tensor, grad) for tensor, grad in zip(wanted[1:], found[1:]) if grad is not None]
