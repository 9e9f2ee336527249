"""Steps of Glow as one step of autograd: affine couplings with a `ConvNet`, whose gradient is written by hand.

Images lie as planes, one row for each channel: the channels of a coupling are then whole blocks of memory, and every
convolution is a product of two matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, relu

from course_flows.conv_nets import ConvNet
from course_flows.models.shifted_planes import neighbors, sum_of_neighbors
from course_flows.transforms.coupling import AffineCoupling, Coupling, Tanh

__all__ = ["Layout", "can_be_fused", "fused_steps", "fused_steps_back"]

WEIGHTS = 6  # of a network: weight and bias of three convolutions


@dataclass(frozen=True)
class Layout:
    """How planes, one row for each channel, make images, and how the couplings cut and bound.

    Attributes:
        images: ``(N, H, W)``.
        kept: the first so many of the channels condition the others.
        limit: the largest log-scale.
    """

    images: tuple[int, int, int]
    kept: int
    limit: float

    def planes(self, image: Tensor) -> Tensor:
        """Lay images ``(*batch, C, H, W)`` out as planes ``(C, N·H·W)``."""
        channels = image.shape[-3]
        return image.reshape(self.images[0], channels, *self.images[1:]).transpose(0, 1).flatten(1)

    def image(self, planes: Tensor) -> Tensor:
        """See planes as images ``(N, C, H, W)``."""
        return planes.view(len(planes), *self.images).transpose(0, 1)

    def total(self, planes: Tensor) -> Tensor:
        """Sum planes over each image, ``(N)``."""
        return planes.sum(0).view(self.images).sum((1, 2))


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


def fused_steps(
    layout: Layout, planes: Tensor, matrices: Tensor, shifts: Tensor, nets: Sequence[ConvNet]
) -> tuple[Tensor, Tensor]:
    """Run steps from data to latent; return the planes and the log-determinant of the couplings, ``(N)``.

    Arguments:
        planes: ``(C, N·H·W)``.
        matrices, shifts: of the convolutions, ``(K, C, C)`` and ``(K, C)``.
        nets: of the couplings, K of them.
    """
    weights = [weight for net in nets for weight in net.weights()]
    if torch.is_grad_enabled():
        return _Fused.apply(layout, planes, matrices, shifts, *weights)
    return _run(layout, planes, matrices, shifts, weights)


def fused_steps_back(
    layout: Layout, planes: Tensor, matrices: Tensor, shifts: Tensor, nets: Sequence[ConvNet]
) -> tuple[Tensor, Tensor]:
    """Run steps from latent to data, without gradients; the arguments are those of the inverse convolutions."""
    planes = planes.clone()
    slopes = torch.zeros_like(planes[layout.kept :])
    weights = [net.weights() for net in nets]
    room = _Room(layout, planes, weights[0])
    second = torch.empty_like(room.first[:-1])
    for k in reversed(range(len(nets))):
        kept, moved = planes[: layout.kept], planes[layout.kept :]
        raw, shift = room.run(kept, weights[k], second).chunk(2)
        slope = (raw * (-1 / layout.limit)).tanh_()
        slopes += slope
        moved.sub_(shift).mul_(slope.mul_(layout.limit).exp_())
        planes = torch.addmm(shifts[k][:, None], matrices[k], planes)
    return planes, layout.limit * layout.total(slopes)


class _Room:
    """Memory in which the networks of all steps run, one after the other.

    Arguments:
        layout: of the planes.
        planes: any, for dtype and number of pixels.
        weights: of the first network.
    """

    def __init__(self, layout: Layout, planes: Tensor, weights: Sequence[Tensor]) -> None:
        pixels, width = planes.shape[1], len(weights[0])
        self.images = layout.images
        self.around = planes.new_empty(9 * layout.kept + 1, pixels)  # what each pixel sees, and ones for the biases
        self.around[-1] = 1
        self.first = planes.new_empty(width + 1, pixels)  # the first hidden layer, and again ones
        self.taps = planes.new_empty(9 * len(weights[4]), pixels)

    def hidden(self, layers: int) -> Tensor:
        """Return room for hidden layers, ``(layers, hidden, N·H·W)``.

        In memory it holds the values of a pixel side by side, which makes the products of the backward pass faster.
        """
        width, pixels = len(self.first) - 1, self.first.shape[1]
        return self.first.new_empty(layers, pixels, width).transpose(1, 2)

    def run(self, planes: Tensor, weights: Sequence[Tensor], second: Tensor) -> Tensor:
        """Return what a network gives; its second hidden layer goes into `second`."""
        w1, b1, w2, b2, w3, b3 = weights
        self._look_around(planes)
        torch.mm(_with_bias(_first(w1), b1), self.around, out=self.first[:-1]).relu_()
        self.first[-1] = 1
        torch.mm(_with_bias(w2.flatten(1), b2), self.first, out=second).relu_()
        torch.mm(_last(w3), second, out=self.taps)
        return sum_of_neighbors(self._by_tap(), self.images).add_(b3[:, None])

    def run_back(
        self, g: Tensor, planes: Tensor, weights: Sequence[Tensor], second: Tensor, spare: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the gradients of the planes and of the weights; the first hidden layer is computed once more.

        It goes, with the gradients of both hidden layers, into `spare`, room for three.
        """
        w1, b1, w2, _, w3, _ = weights
        first, of_first, of_second = spare
        self._look_around(planes)
        torch.mm(_with_bias(_first(w1), b1), self.around, out=first).relu_()
        neighbors(g, self.images, self._by_tap(), flip=True)
        of_w3 = torch.mm(self.taps, second.t()).view(len(w3), 3, 3, -1).permute(0, 3, 1, 2)
        _through_relu(torch.mm(_last(w3).t(), self.taps, out=of_second), second)
        of_w2 = torch.mm(of_second, first.t()).view(w2.shape)
        _through_relu(torch.mm(w2.flatten(1).t(), of_second, out=of_first), first)
        of_w1 = torch.mm(self.around, of_first.t()).t()
        of_kernel = of_w1[:, :-1].unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2)
        taps = torch.mm(_first(w1).t(), of_first, out=self.taps[: len(self.around) - 1]).view(9, *planes.shape)
        of_weights = [of_kernel, of_w1[:, -1], of_w2, torch.mv(of_second, self.around[-1]), of_w3, g.sum(1)]
        return sum_of_neighbors(taps, self.images, flip=True), of_weights

    def _look_around(self, planes: Tensor) -> None:
        neighbors(planes, self.images, self.around[:-1].view(9, *planes.shape))

    def _by_tap(self) -> Tensor:
        """See the taps of the last convolution, which lie together for each channel, ``(9, C, N·H·W)``."""
        return self.taps.view(len(self.taps) // 9, 9, self.taps.shape[1]).transpose(0, 1)


def _with_bias(weight: Tensor, bias: Tensor) -> Tensor:
    return torch.cat([weight, bias[:, None]], 1)


def _first(weight: Tensor) -> Tensor:
    """See weights ``(out, in, 3, 3)`` as a matrix ``(out, 9 in)``."""
    return weight.permute(0, 2, 3, 1).flatten(1)


def _last(weight: Tensor) -> Tensor:
    """See weights ``(out, in, 3, 3)`` as a matrix ``(out 9, in)``."""
    return weight.permute(0, 2, 3, 1).flatten(0, 2)


def _run(
    layout: Layout,
    planes: Tensor,
    matrices: Tensor,
    shifts: Tensor,
    weights: Sequence[Tensor],
    saved: list[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    slopes = torch.zeros_like(planes[layout.kept :])
    room = _Room(layout, planes, weights)
    hidden = torch.empty_like(room.first[None, :-1]) if saved is None else room.hidden(len(matrices))
    for k, (matrix, bias) in enumerate(zip(matrices.unbind(), shifts.unbind())):
        planes = torch.addmm(bias[:, None], matrix, planes)
        kept, moved = planes[: layout.kept], planes[layout.kept :]
        out = room.run(kept, weights[WEIGHTS * k : WEIGHTS * (k + 1)], hidden[0 if saved is None else k])
        raw, shift = out.chunk(2)
        slope = (raw * (1 / layout.limit)).tanh_()
        slopes += slope
        scale = (slope * layout.limit).exp_()
        scaled = moved * scale
        torch.add(scaled, shift, out=moved)
        if saved is not None:
            saved += [planes, slope, scale, scaled]
    if saved is not None:
        saved.append(hidden)
    return planes, layout.limit * layout.total(slopes)


def _run_plainly(
    layout: Layout, planes: Tensor, matrices: Tensor, shifts: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor]:
    """The same map without steps in place: what autograd differentiates where second derivatives are wanted."""
    log_det = planes.new_zeros(layout.images[0])
    for k, (matrix, bias) in enumerate(zip(matrices.unbind(), shifts.unbind())):
        w1, b1, w2, b2, w3, b3 = weights[WEIGHTS * k : WEIGHTS * (k + 1)]
        kept, moved = torch.addmm(bias[:, None], matrix, planes).tensor_split([layout.kept])
        hidden = relu(conv2d(relu(conv2d(layout.image(kept), w1, b1, padding=1)), w2, b2))
        raw, shift = layout.planes(conv2d(hidden, w3, b3, padding=1)).chunk(2)
        log_scale = layout.limit * torch.tanh(raw / layout.limit)
        log_det = log_det + layout.total(log_scale)
        planes = torch.cat([kept, torch.addcmul(shift, moved, log_scale.exp())])
    return planes, log_det


class _Fused(torch.autograd.Function):
    """One node of the graph for all steps of a level."""

    @staticmethod
    def forward(
        ctx: Any, layout: Layout, planes: Tensor, matrices: Tensor, shifts: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        saved: list[Tensor] = []
        out, log_det = _run(layout, planes, matrices, shifts, weights, saved)
        ctx.layout = layout
        ctx.inputs = 3 + len(weights)
        ctx.save_for_backward(planes, matrices, shifts, *weights, *saved)
        return out, log_det

    @staticmethod
    def backward(ctx: Any, g: Tensor, of_log_det: Tensor) -> Any:
        layout, tensors = ctx.layout, ctx.saved_tensors
        inputs, saved = tensors[: ctx.inputs], tensors[ctx.inputs :]
        if torch.is_grad_enabled():  # second derivatives are wanted
            outputs = _run_plainly(layout, *inputs)
            return None, *torch.autograd.grad(outputs, inputs, (g, of_log_det), create_graph=True)
        planes, matrices, _, *weights = inputs
        of_matrices, of_shifts, of_weights = torch.empty_like(matrices), torch.empty_like(inputs[2]), list[Tensor]()
        *saved, hidden = saved
        room = _Room(layout, planes, weights)
        spare = room.hidden(3)
        pixels = layout.images[1] * layout.images[2]
        of_pixel = of_log_det[:, None].expand(-1, pixels).flatten()[None]
        for k in reversed(range(len(matrices))):
            after, slope, scale, scaled = saved[4 * k : 4 * (k + 1)]
            before = saved[4 * (k - 1)] if k else planes
            of_shift = g[layout.kept :]
            of_log_scale = torch.addcmul(of_pixel, of_shift, scaled)
            of_raw = torch.addcmul(of_log_scale, of_log_scale, slope * slope, value=-1)  # c tanh(r/c): 1 - tanh^2
            of_net, weights_of_net = torch.cat([of_raw, of_shift]), weights[WEIGHTS * k : WEIGHTS * (k + 1)]
            through_net, of_step = room.run_back(of_net, after[: layout.kept], weights_of_net, hidden[k], spare)
            of_weights[:0] = of_step
            mixed = torch.cat([through_net.add_(g[: layout.kept]), of_shift * scale])
            torch.mm(mixed, before.t(), out=of_matrices[k])
            torch.sum(mixed, 1, out=of_shifts[k])
            g = torch.mm(matrices[k].t(), mixed)
        return None, g, of_matrices, of_shifts, *of_weights


def _through_relu(g: Tensor, out: Tensor) -> Tensor:
    """Multiply a gradient by the slope of the ReLU that gave `out`, in place."""
    return torch.ops.aten.threshold_backward.grad_input(g, out, 0, grad_input=g)
