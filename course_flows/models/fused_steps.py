"""Steps of Glow as one step of autograd: affine couplings with a `ConvNet`, whose gradient is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import conv2d, linear, relu

from course_flows.conv_nets import ConvNet
from course_flows.transforms.base import has_values
from course_flows.transforms.coupling import AffineCoupling, Coupling, Tanh

__all__ = ["Layout", "can_be_fused", "fused_steps", "fused_steps_back", "may_run_fused"]

WEIGHTS = 6  # of a network: weight and bias of three convolutions


@dataclass(frozen=True)
class Layout:
    """How rows, one for each pixel, make images, and how the couplings cut and bound.

    Attributes:
        images: ``(N, H, W)``.
        kept: the first so many of the channels condition the others.
        limit: the largest log-scale.
    """

    images: tuple[int, int, int]
    kept: int
    limit: float

    def image(self, rows: Tensor) -> Tensor:
        """See rows ``(N·H·W, C)`` as images ``(N, C, H, W)``."""
        return rows.view(*self.images, rows.shape[1]).permute(0, 3, 1, 2)

    def rows(self, image: Tensor) -> Tensor:
        """Undo `image`."""
        return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])

    def total(self, rows: Tensor) -> Tensor:
        """Sum rows ``(N·H·W, C)`` over each image, ``(N)``."""
        return rows.unflatten(0, self.images).sum((1, 2, 3))


def can_be_fused(coupling: Coupling, like: Coupling) -> bool:
    """Return whether `coupling` moves the same channels as another by an affine law that a `ConvNet` conditions."""
    return (
        type(coupling) is AffineCoupling
        and type(coupling.bound) is Tanh
        and type(coupling.net) is ConvNet
        and not coupling.net.context_channels
        and coupling.partition.kept_first
        and coupling.partition.sizes == like.partition.sizes
        and coupling.bound.limit == getattr(like.bound, "limit", None)
    )


def may_run_fused(x: Tensor) -> bool:
    """Return whether nothing asks for another form: torch.func, torch.compile, forward-mode derivatives, autocast."""
    return has_values(x) and forward_ad.unpack_dual(x).tangent is None and not torch.is_autocast_enabled(x.device.type)


def fused_steps(
    layout: Layout, rows: Tensor, matrices: Tensor, shifts: Tensor, nets: Sequence[ConvNet]
) -> tuple[Tensor, Tensor]:
    """Run steps from data to latent; return the rows and the log-determinant of the couplings, ``(N)``.

    Arguments:
        rows: ``(N·H·W, C)``.
        matrices, shifts: of the convolutions, ``(K, C, C)`` and ``(K, C)``.
        nets: of the couplings, K of them.
    """
    weights = [weight for net in nets for weight in net.weights()]
    if torch.is_grad_enabled():
        return _Fused.apply(layout, rows, matrices, shifts, *weights)
    return _run(layout, rows, matrices, shifts, weights)


def fused_steps_back(
    layout: Layout, rows: Tensor, matrices: Tensor, shifts: Tensor, nets: Sequence[ConvNet]
) -> tuple[Tensor, Tensor]:
    """Run steps from latent to data, without gradients; the arguments are those of the inverse convolutions."""
    rows, log_det, kept = rows.clone(), rows.new_zeros(layout.images[0]), layout.kept
    for k in reversed(range(len(nets))):
        moved = rows.narrow(1, kept, rows.shape[1] - kept)
        out, _ = _net(
            layout.image(rows.narrow(1, 0, kept).clone(memory_format=torch.contiguous_format)), nets[k].weights()
        )
        raw, shift = layout.rows(out).chunk(2, 1)
        log_scale = (raw / -layout.limit).tanh_().mul_(layout.limit)
        log_det += layout.total(log_scale)
        torch.mul(moved - shift, log_scale.exp_(), out=moved)
        rows = torch.addmm(shifts[k], rows, matrices[k].t())
    return rows, log_det


def _net(image: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return what a network gives for an image, and its two hidden layers."""
    first = conv2d(image, weights[0], weights[1], padding=1).relu_()
    second = conv2d(first, weights[2], weights[3]).relu_()
    return conv2d(second, weights[4], weights[5], padding=1), (first, second)


def _run(
    layout: Layout,
    rows: Tensor,
    matrices: Tensor,
    shifts: Tensor,
    weights: Sequence[Tensor],
    saved: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    log_det, kept = rows.new_zeros(layout.images[0]), layout.kept
    for k, (matrix, bias) in enumerate(zip(matrices.unbind(), shifts.unbind())):
        before, rows = rows, torch.addmm(bias, rows, matrix.t())
        moved = rows.narrow(1, kept, rows.shape[1] - kept)
        image = layout.image(rows.narrow(1, 0, kept).clone(memory_format=torch.contiguous_format))
        out, hidden = _net(image, weights[WEIGHTS * k : WEIGHTS * (k + 1)])
        raw, shift = layout.rows(out).chunk(2, 1)
        slope = (raw / layout.limit).tanh_()
        log_scale = slope * layout.limit
        log_det += layout.total(log_scale)
        scale = log_scale.exp_()
        scaled = moved * scale
        torch.add(scaled, shift, out=moved)
        if saved is not None:
            saved += [before, image, *hidden, slope, scale, scaled]
    return rows, log_det


def _run_plainly(
    layout: Layout, rows: Tensor, matrices: Tensor, shifts: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor]:
    """The same map without steps in place: what autograd differentiates where second derivatives are wanted."""
    log_det = rows.new_zeros(layout.images[0])
    for k, (matrix, bias) in enumerate(zip(matrices.unbind(), shifts.unbind())):
        w1, b1, w2, b2, w3, b3 = weights[WEIGHTS * k : WEIGHTS * (k + 1)]
        kept, moved = linear(rows, matrix, bias).tensor_split([layout.kept], 1)
        hidden = relu(conv2d(relu(conv2d(layout.image(kept.contiguous()), w1, b1, padding=1)), w2, b2))
        raw, shift = layout.rows(conv2d(hidden, w3, b3, padding=1)).chunk(2, 1)
        log_scale = layout.limit * torch.tanh(raw / layout.limit)
        log_det = log_det + layout.total(log_scale)
        rows = torch.cat([kept, torch.addcmul(shift, moved, log_scale.exp())], 1)
    return rows, log_det


class _Fused(torch.autograd.Function):
    """One node of the graph for all steps of a level."""

    @staticmethod
    def forward(
        ctx: Any, layout: Layout, rows: Tensor, matrices: Tensor, shifts: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        saved: list[Tensor] = []
        out = _run(layout, rows, matrices, shifts, weights, saved)
        ctx.layout = layout
        ctx.inputs = 3 + len(weights)
        ctx.save_for_backward(rows, matrices, shifts, *weights, *saved)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor, of_log_det: Tensor) -> Any:
        layout, tensors = ctx.layout, ctx.saved_tensors
        inputs, saved = tensors[: ctx.inputs], tensors[ctx.inputs :]
        if torch.is_grad_enabled():  # second derivatives are wanted
            outputs = _run_plainly(layout, *inputs)
            return None, *torch.autograd.grad(outputs, inputs, (g, of_log_det), create_graph=True)
        _, matrices, shifts, *weights = inputs
        of_matrices, of_shifts = torch.empty_like(matrices), torch.empty_like(shifts)
        of_weights: list[Tensor] = []
        _, height, width = layout.images
        of_row = of_log_det[:, None].expand(-1, height * width).reshape(-1, 1)
        kept, per_step = layout.kept, len(saved) // len(matrices)
        for k in reversed(range(len(matrices))):
            before, image, first, second, slope, scale, scaled = saved[per_step * k : per_step * (k + 1)]
            w1, _, w2, _, w3, _ = weights[WEIGHTS * k : WEIGHTS * (k + 1)]
            of_shift = g.narrow(1, kept, g.shape[1] - kept)
            of_log_scale = torch.addcmul(of_row, of_shift, scaled)
            of_raw = torch.addcmul(of_log_scale, of_log_scale, slope * slope, value=-1)  # c tanh(r/c): 1 - tanh^2
            of_out = layout.image(torch.cat([of_raw, of_shift], 1))
            h, of_w3, of_b3 = _conv_backward(of_out, second, w3)
            h, of_w2, of_b2 = _conv_backward(_through_relu(h, second), first, w2)
            h, of_w1, of_b1 = _conv_backward(_through_relu(h, first), image, w1)
            of_weights[:0] = [of_w1, of_b1, of_w2, of_b2, of_w3, of_b3]
            mixed = torch.cat([g.narrow(1, 0, kept) + layout.rows(h), of_shift * scale], 1)
            torch.mm(mixed.t(), before, out=of_matrices[k])
            torch.sum(mixed, 0, out=of_shifts[k])
            g = torch.mm(mixed, matrices[k])
        return None, g, of_matrices, of_shifts, *of_weights


def _conv_backward(g: Tensor, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the input, the weight and the bias of a convolution that keeps height and width."""
    padding = [weight.shape[-1] // 2] * 2
    return torch.ops.aten.convolution_backward(
        g, image, weight, [len(weight)], [1, 1], padding, [1, 1], False, [0, 0], 1, [True, True, True]
    )


def _through_relu(g: Tensor, out: Tensor) -> Tensor:
    """Multiply a gradient by the slope of the ReLU that gave `out`, in place."""
    return torch.ops.aten.threshold_backward.grad_input(g, out, 0, grad_input=g)
