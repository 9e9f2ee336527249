"""Layers of MAF with ReLU networks as one step of autograd, whose gradient is written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_flows.calls import by_hand, gradients_of, has_values
from course_flows.made import MADE
from course_flows.masked_linear import SMALL, MaskedLinear, StripedLinear, room_like
from course_flows.nets import ROWS_IN_CACHE
from course_flows.transforms.coupling import Tanh

__all__ = ["fused_layers", "layers_to_fuse", "plain_layers"]

LINEAR = (MaskedLinear.forward, StripedLinear.forward)


class Layer(NamedTuple):
    """A layer of MAF: the linear layers of its network, and the largest log-scale."""

    linear: tuple[MaskedLinear | StripedLinear, ...]
    limit: float


def layers_to_fuse(pairs: Iterable[tuple[MADE, nn.Module]], x: Tensor, context: Tensor | None) -> list[Layer] | None:
    """Return layers, each given by its network and bound, as `fused_layers` takes them; None where it does not serve.

    It serves for plain networks of ReLUs, bounds by `Tanh`, and first derivatives.
    """
    if context is not None or not by_hand(x):
        return None
    layers = []
    for net, bound in pairs:
        linear = plain_layers(net)
        if linear is None or net.residual or net.context is not None or type(net.activation) is not nn.ReLU:
            return None
        if type(bound) is not Tanh or linear[-1].bias.dtype != x.dtype:
            return None
        layers.append(Layer(linear, bound.limit))
    return layers


def plain_layers(net: MADE) -> tuple[MaskedLinear | StripedLinear, ...] | None:
    """Return the layers where network and layers do what their weights say; None where a ``forward`` is not theirs."""
    layers: tuple[Any, ...] = (*net.layers, net.last)
    if type(net).forward is not MADE.forward or any(type(layer).forward not in LINEAR for layer in layers):
        return None
    return layers


def fused_layers(layers: Sequence[Layer], x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Run layers :math:`z = (x - \mu) e^{-\alpha}` one after the other.

    Return the last z and the sum of all :math:`-\alpha_i` for x ``(N, D)``; the layers are what `layers_to_fuse`
    returned for x. Without gradients a large batch on a CPU is taken in parts.
    """
    weights = [p for layer in layers for part in layer.linear for p in (part.weight, part.bias)]
    if torch.is_grad_enabled():
        return _Fused.apply(layers, x, *weights)
    z, log_det = x.new_empty(x.shape), x.new_zeros(x.shape[0])
    used = [[part.ready(part.weight) for part in layer.linear] for layer in layers]
    rows = ROWS_IN_CACHE if x.device.type == "cpu" else max(len(x), 1)
    for part, found, total in zip(x.split(rows), z.split(rows), log_det.split(rows)):
        points, biases = _columns(part, layers), iter(weights[1::2])
        for layer, own in zip(layers, used):
            points, slope, *_ = _run(layer, own, biases, points)
            total.sub_(slope.sum(dim=0), alpha=layer.limit)
        found.copy_(points.t())
    return z, log_det


def _columns(points: Tensor, layers: Sequence[Layer]) -> Tensor:
    """Return points ``(N, D)`` as columns ``(D, N)``, in the order in memory that serves the layers.

    Row after row, what a strip writes and each half of an output is one piece of memory. Matrices of many weights take
    more time than what lies between them; they are multiplied faster with numbers that lie point after point.
    """
    many = any(part.weight.numel() > SMALL for layer in layers for part in layer.linear)
    return points.contiguous().t() if many else points.t().contiguous()


def _run(
    layer: Layer, used: Sequence[Tensor], biases: Iterator[Tensor], x: Tensor
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """Return z and what the gradient needs: tanh, the scale, the hidden units; points are columns.

    Tanh and z are written over the output of the network, each over its half.
    """
    *parts, last = zip(layer.linear, used, biases)
    hidden, h = [], x
    for part, weight, bias in parts:
        h = part.product(h, weight, bias).relu_()
        hidden.append(h)
    part, weight, bias = last
    raw, mu = part.product(h, weight, bias).chunk(2)
    slope = raw.div_(layer.limit).tanh_()
    scale = torch.mul(slope, -layer.limit).exp_()
    return torch.sub(x, mu, out=mu).mul_(scale), slope, scale, hidden


def _run_plainly(layers: Sequence[Layer], x: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The same map without in-place steps: what autograd differentiates where second derivatives are wanted."""
    log_det, rest = x.new_zeros(x.shape[0]), iter(weights)
    for linear, limit in layers:
        h = x
        for k, part in enumerate(linear):
            h = functional.linear(functional.relu(h) if k else h, part.masked_weight(next(rest)), next(rest))
        raw, mu = h.chunk(2, dim=-1)
        alpha = limit * torch.tanh(raw / limit)
        x, log_det = (x - mu) * (-alpha).exp(), log_det - alpha.sum(dim=-1)
    return x, log_det


class _Fused(torch.autograd.Function):
    """One node of the graph for all layers: autograd spends much on many small nodes."""

    @staticmethod
    def forward(ctx: Any, layers: Sequence[Layer], x: Tensor, *weights: Tensor) -> Any:
        points, rest, biases, saved = _columns(x, layers), iter(weights[::2]), iter(weights[1::2]), []
        log_scale = torch.zeros_like(points)
        for layer in layers:
            used = [part.ready(weight) for part, weight in zip(layer.linear, islice(rest, len(layer.linear)))]
            before = points
            points, slope, scale, hidden = _run(layer, used, biases, before)
            log_scale.sub_(slope, alpha=layer.limit)
            saved += [*used, before, *hidden, slope, scale, points]
        ctx.layers = layers
        ctx.save_for_backward(x, *weights, *saved)
        z = points.t().clone(memory_format=torch.contiguous_format)  # no view: it may be changed in place
        return z, log_scale.sum(dim=0)

    @staticmethod
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> Any:
        layers, (x, *saved) = ctx.layers, ctx.saved_tensors
        wanted = ctx.needs_input_grad[1:]
        count = len(wanted) - 1
        if torch.is_grad_enabled() or not (has_values(of_z) and has_values(of_log_det)):  # second ones, or many at once
            weights = saved[:count]
            with torch.enable_grad():
                outputs = _run_plainly(layers, x, weights)
            return None, *gradients_of(outputs, (x, *weights), wanted, (of_z, of_log_det))
        of_z, found, place = _columns(of_z, layers), [], count
        for layer in reversed(layers):
            depth = len(layer.linear)
            *used, slope, scale, z = saved[-2 * depth - 3 :]
            del saved[-2 * depth - 3 :]
            used, inputs = used[:depth], used[depth:]
            g = room_like(of_z, 2 * len(of_z))
            of_raw, of_mu = g.chunk(2)
            # alpha = c tanh(raw / c) has the derivative 1 - tanh^2; with alpha z falls by z, the log-determinant by 1
            torch.mul((slope * slope).sub_(1), torch.addcmul(of_log_det, of_z, z), out=of_raw)
            of_z = of_z * scale
            torch.neg(of_z, out=of_mu)
            for k in range(depth - 1, -1, -1):
                place -= 2
                found.append(g.sum(1) if wanted[place + 2] else None)
                found.append(layer.linear[k].gradient_of_weight(g, inputs[k]) if wanted[place + 1] else None)
                if k:
                    g = layer.linear[k].gradient_of_input(g, used[k])
                    torch.ops.aten.threshold_backward.grad_input(g, inputs[k], 0, grad_input=g)
                elif place or wanted[0]:
                    layer.linear[0].gradient_of_input(g, used[0], onto=of_z)
        return None, of_z.t().contiguous() if wanted[0] else None, *reversed(found)
