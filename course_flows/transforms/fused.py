"""Affine couplings with ReLU networks run as one step of autograd, whose gradient is written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from course_flows.calls import has_values, is_watched
from course_flows.nets import MLP
from course_flows.transforms.coupling import AffineCoupling, Coupling, Tanh

__all__ = ["can_be_fused", "fused_couplings", "runs_fused"]


@dataclass(frozen=True)
class Step:
    """A coupling: which part it keeps (0 or 1), the largest log-scale, and its number of linear layers."""

    keeps: int
    limit: float
    layers: int


def can_be_fused(coupling: Coupling) -> bool:
    """Return whether `coupling` moves vectors by an affine law bounded by `Tanh` that a ReLU `MLP` conditions."""
    return (
        type(coupling) is AffineCoupling
        and type(coupling.bound) is Tanh
        and type(coupling.net) is MLP
        and not coupling.net.context_features
        and all(type(layer) in (nn.Linear, nn.ReLU) for layer in coupling.net.layers)
    )


def runs_fused(couplings: Sequence[Coupling], x: Tensor) -> bool:
    """Return whether the fused form serves here: gradients are wanted and nothing looks into the networks."""
    return (
        torch.is_grad_enabled()
        and has_values(x)
        and not torch.is_autocast_enabled(x.device.type)
        and all(can_be_fused(coupling) and not is_watched(coupling.net) for coupling in couplings)
    )


def fused_couplings(
    couplings: Sequence[Coupling], keeps: Sequence[int], first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run couplings from data to latent; return the two parts and the log-determinant.

    Arguments:
        couplings: each `can_be_fused`.
        keeps: for each coupling 0 where it keeps the first part, 1 for the second.
        first, second: ``(N, A)`` and ``(N, B)``.
    """
    steps, weights = [], []
    for coupling, kept in zip(couplings, keeps):  # `can_be_fused` has seen to an MLP and a `Tanh`, which types cannot
        linear = [layer for layer in coupling.net.layers if isinstance(layer, nn.Linear)]  # type: ignore[union-attr]
        steps.append(Step(kept, coupling.bound.limit, len(linear)))  # type: ignore[arg-type, union-attr]
        for layer in linear:
            weights += [layer.weight, layer.bias]
    return _Fused.apply(tuple(steps), first, second, *weights)


def run_plainly(steps: Sequence[Step], parts: Sequence[Tensor], weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same map without in-place steps: what autograd differentiates where second derivatives are wanted."""
    parts, log_scales, place = list(parts), [], 0
    for step in steps:
        moves, h = 1 - step.keeps, parts[step.keeps]
        for k in range(step.layers):
            h = functional.linear(functional.relu(h) if k else h, *weights[place : place + 2])
            place += 2
        raw, shift = h.chunk(2, -1)
        log_scales.append(step.limit * torch.tanh(raw / step.limit))
        parts[moves] = torch.addcmul(shift, parts[moves], log_scales[-1].exp())
    return *parts, torch.cat(log_scales, -1).sum(-1)


class _Fused(torch.autograd.Function):
    """One node of the graph for all couplings: autograd spends more on the many small nodes than they compute."""

    @staticmethod
    def forward(ctx: Any, steps: tuple[Step, ...], first: Tensor, second: Tensor, *weights: Tensor) -> Any:
        parts, log_scales, saved, place = [first, second], [], [], 0
        for step in steps:
            kept, moved = parts[step.keeps], parts[1 - step.keeps]
            h, hidden = kept, []
            for _ in range(step.layers - 1):
                h = functional.linear(h, weights[place], weights[place + 1]).relu_()
                hidden.append(h)
                place += 2
            raw, shift = functional.linear(h, weights[place], weights[place + 1]).chunk(2, -1)
            place += 2
            slope = raw.div_(step.limit).tanh_()
            log_scales.append(slope * step.limit)
            scale = log_scales[-1].exp()
            parts[1 - step.keeps] = torch.addcmul(shift, moved, scale)
            saved += [moved, scale, slope, kept, *hidden]
        ctx.steps = steps
        ctx.save_for_backward(first, second, *weights, *saved)
        return *parts, torch.cat(log_scales, -1).sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        steps, tensors = ctx.steps, ctx.saved_tensors
        count = 2 + 2 * sum(step.layers for step in steps)
        inputs, saved = tensors[:count], list(tensors[count:])
        if torch.is_grad_enabled():  # second derivatives are wanted
            outputs = run_plainly(steps, inputs[:2], inputs[2:])
            return None, *torch.autograd.grad(outputs, inputs, grads, create_graph=True)
        parts, of_log_det, found = list(grads[:2]), grads[2][:, None], []
        end = count
        for step in reversed(steps):
            moved, scale, slope, kept, *hidden = saved[-3 - step.layers :]
            del saved[-3 - step.layers :]
            of_shift = parts[1 - step.keeps]
            of_moved = of_shift * scale
            of_log_scale = torch.addcmul(of_log_det, of_moved, moved)
            of_raw = torch.addcmul(of_log_scale, of_log_scale, slope * slope, value=-1)  # c tanh(r/c): 1 - tanh^2
            g = torch.cat([of_raw, of_shift], -1)
            for before in (*reversed(hidden), kept):
                end -= 2
                found += [g.sum(0), torch.mm(g.t(), before)]
                if before is not kept:
                    g = torch.mm(g, tensors[end])
                    torch.ops.aten.threshold_backward.grad_input(g, before, 0, grad_input=g)
            parts[step.keeps] = torch.addmm(parts[step.keeps], g, tensors[end])
            parts[1 - step.keeps] = of_moved
        return None, *parts, *reversed(found)
