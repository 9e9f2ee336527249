"""A layer of MAF with a ReLU network as one step of autograd, whose gradient is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_flows.calls import by_hand, gradients_of, has_values
from course_flows.made import MADE
from course_flows.masked_linear import MaskedLinear, StripedLinear
from course_flows.transforms.coupling import Tanh

__all__ = ["fused_layer", "runs_fused"]


def runs_fused(net: MADE, bound: nn.Module, x: Tensor, context: Tensor | None) -> bool:
    """Return whether the fused form serves here: a plain network of ReLUs, a bound by `Tanh`, and first derivatives."""
    plain = not net.residual and net.context is None and context is None and type(net.activation) is nn.ReLU
    return plain and type(bound) is Tanh and by_hand(x) and x.dtype == next(net.parameters(), x).dtype


def fused_layer(net: MADE, bound: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return :math:`z = (x - \mu) e^{-\alpha}` and :math:`-\sum_i \alpha_i` for x ``(N, D)``, where `runs_fused`."""
    assert isinstance(bound, Tanh)
    layers = [stage.layer for stage in net.stages()]
    weights = [p for layer in layers for p in (layer.weight, layer.bias)]
    if torch.is_grad_enabled():
        return _Fused.apply(layers, bound.limit, x, *weights)
    z, log_det, *_ = _run(layers, [layer.ready(layer.weight) for layer in layers], weights[1::2], bound.limit, x)
    return z, log_det


def _run(
    layers: Sequence[MaskedLinear | StripedLinear],
    used: Sequence[Tensor],
    biases: Sequence[Tensor],
    limit: float,
    x: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
    """Return z, the log-determinant, and what the gradient needs: tanh, the scale, the inputs of all linear layers."""
    inputs = [x]
    for layer, weight, bias in zip(layers[:-1], used, biases):
        inputs.append(layer.product(inputs[-1], weight, bias).relu_())
    raw, mu = layers[-1].product(inputs[-1], used[-1], biases[-1]).chunk(2, dim=-1)
    slope = raw.div_(limit).tanh_()
    scale = torch.mul(slope, -limit).exp_()
    return torch.sub(x, mu).mul_(scale), slope.sum(dim=-1).mul_(-limit), slope, scale, inputs


def _run_plainly(
    layers: Sequence[MaskedLinear | StripedLinear], limit: float, x: Tensor, weights: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The same map without in-place steps: what autograd differentiates where second derivatives are wanted."""
    h = x
    for k, layer in enumerate(layers):
        h = functional.linear(functional.relu(h) if k else h, layer.masked_weight(weights[2 * k]), weights[2 * k + 1])
    raw, mu = h.chunk(2, dim=-1)
    alpha = limit * torch.tanh(raw / limit)
    return (x - mu) * (-alpha).exp(), -alpha.sum(dim=-1)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layers: list[Any], limit: float, x: Tensor, *weights: Tensor) -> Any:
        used = [layer.ready(weight) for layer, weight in zip(layers, weights[::2])]
        z, log_det, slope, scale, (_, *hidden) = _run(layers, used, weights[1::2], limit, x)
        ctx.layers, ctx.limit = layers, limit
        ctx.save_for_backward(x, *weights, *used, *hidden, slope, scale, z)
        return z, log_det

    @staticmethod
    def backward(ctx: Any, of_z: Tensor, of_log_det: Tensor) -> Any:
        layers, count, (x, *saved) = ctx.layers, len(ctx.layers), ctx.saved_tensors
        weights, used, saved = saved[: 2 * count], saved[2 * count : 3 * count], saved[3 * count :]
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled() or not (has_values(of_z) and has_values(of_log_det)):  # second ones, or many at once
            with torch.enable_grad():
                outputs = _run_plainly(layers, ctx.limit, x, weights)
            return None, None, *gradients_of(outputs, (x, *weights), wanted, (of_z, of_log_det))
        *hidden, slope, scale, z = saved
        of_x = of_z * scale
        # alpha = c tanh(raw / c) has the derivative 1 - tanh^2; with alpha z falls by z, and the log-determinant by 1
        minus_of_alpha = torch.addcmul(of_log_det[:, None], of_z, z)
        g = of_z.new_empty(len(x), 2 * x.shape[1])
        of_raw, of_mu = g.chunk(2, dim=-1)
        torch.mul(slope, slope, out=of_raw).sub_(1).mul_(minus_of_alpha)
        torch.neg(of_x, out=of_mu)
        of_weights: list[Tensor | None] = []
        for k, before in reversed(list(enumerate((x, *hidden)))):
            of_weights.append(g.sum(0) if wanted[2 * k + 2] else None)
            of_weights.append(layers[k].gradient_of_weight(g, before) if wanted[2 * k + 1] else None)
            if k:
                g = layers[k].gradient_of_input(g, used[k])
                torch.ops.aten.threshold_backward.grad_input(g, before, 0, grad_input=g)
            elif wanted[0]:
                of_x += layers[0].gradient_of_input(g, used[0])
        return None, None, of_x, *reversed(of_weights)
