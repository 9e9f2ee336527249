"""Fit a flow by maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from course_flows.flow import Flow
from course_flows.training.metrics import evaluation

__all__ = ["History", "fit"]


@dataclass
class History:
    """Negative log-likelihoods in nats a point.

    Attributes:
        steps, train_nll: every step and the loss of its batch before the step.
        validation_steps, validation_nll: the steps after which the validation points were scored, and their score.
    """

    steps: list[int] = field(default_factory=list)
    train_nll: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)
    validation_nll: list[float] = field(default_factory=list)


@torch.enable_grad()
def fit(
    flow: Flow,
    data: Tensor,
    *,
    steps: int,
    batch_size: int | None = None,
    lr: float = 1e-3,
    validation: Tensor | None = None,
    validate_every: int = 50,
    context: Tensor | None = None,
    validation_context: Tensor | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
) -> History:
    r"""Minimize :math:`-\frac1N \sum_n \log p(x_n)` with Adam, in place; return the curve.

    The flow is in train mode meanwhile and in eval mode afterwards.

    Arguments:
        flow: trained where it lives: move it and `data` to the same device first.
        data: points ``(N, *event)``.
        steps: number of gradient steps.
        batch_size: points a step, drawn without replacement; a round ends, and the points are shuffled again, when
            fewer than a batch are left. All of them if None.
        lr: largest learning rate; it falls to zero along a half cosine.
        validation: points ``(M, *event)`` whose likelihood is recorded every `validate_every` steps.
        context, validation_context: one row for each point of `data` and of `validation`.
        prepare: turns each batch of `data` and of `validation` into points of the flow; `dequantize` draws fresh noise
            every step that way, with integer images as `data`.
        seed: of the order of the batches.

    Raises ValueError where the data have the wrong shape or are not finite, RuntimeError (naming the step) where
    the likelihood stops being finite.
    """
    prepare = prepare or (lambda points: points)
    flow.check_points(prepare(data), "fit")
    size = len(data) if batch_size is None else batch_size
    if not 1 <= size <= len(data):
        raise ValueError(f"fit expects a batch size of 1 to {len(data)} (the number of points), found {size}")
    if not any(p.requires_grad for p in flow.parameters()):
        raise ValueError("fit expects a flow with parameters to train, found none")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(flow.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    history = History()
    order = torch.empty(0, dtype=torch.long)
    flow.train()
    for step in range(steps):
        if batch_size is None:
            batch, batch_context = data, context
        else:
            if len(order) < batch_size:
                order = torch.randperm(len(data), generator=generator)
            chosen, order = order[:batch_size].to(data.device), order[batch_size:]
            batch, batch_context = data[chosen], None if context is None else context[chosen]
        loss = -flow.log_prob(prepare(batch), batch_context).mean()
        if not torch.isfinite(loss):
            raise RuntimeError(f"the likelihood is {loss.item()} at step {step}: lower lr or check the data")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        history.steps.append(step)
        history.train_nll.append(loss.item())
        if validation is not None and (step % validate_every == 0 or step == steps - 1):
            history.validation_steps.append(step)
            history.validation_nll.append(_mean_nll(flow, prepare(validation), validation_context))
    flow.eval()
    return history


@torch.no_grad()
def _mean_nll(flow: Flow, points: Tensor, context: Tensor | None) -> float:
    with evaluation(flow):
        return -flow.log_prob(points, context).mean().item()
