"""What happens when the likelihood stops being a number: the run ends and leaves what is needed to find out why."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from course_flows.training.checkpoint import write_checkpoint
from course_flows.training.errors import NonFiniteError

__all__ = ["Batch", "report_non_finite"]


@dataclass(frozen=True)
class Batch:
    """What a step saw.

    Attributes:
        step: its number, from 0.
        indices: which images of the training part.
        points: the images dequantized, or the points.
        log_prob: the density of each under the weights before the step.
        norm: of the gradient, where it is known.
    """

    step: int
    indices: Tensor
    points: Tensor
    log_prob: Tensor
    norm: Tensor | None = None


def report_non_finite(folder: Path, flow: nn.Module, batch: Batch) -> NoReturn:
    """Save weights, gradients and the batch as ``non-finite.json`` with its tensors; raise NonFiniteError."""
    names = [name for name, value in flow.named_parameters() if not torch.isfinite(value).all()]
    bad = int((~torch.isfinite(batch.log_prob)).sum())
    tensors = {"indices": batch.indices, "points": batch.points, "log_prob": batch.log_prob}
    tensors |= {f"weights/{name}": value for name, value in flow.state_dict().items()}
    tensors |= {f"gradients/{n}": p.grad for n, p in flow.named_parameters() if p.grad is not None}
    path = write_checkpoint(
        folder, "non-finite", tensors, {"step": batch.step, "bad_points": bad, "bad_weights": names}
    )
    if names:
        what = f"{len(names)} weight tensors hold NaN or infinity, the first {names[0]}"
    elif bad:
        what = f"the density of {bad} of {len(batch.log_prob)} points is NaN or infinite, while the weights are finite"
    else:
        what = f"the norm of the gradient is {batch.norm}, while the likelihood is finite"
    raise NonFiniteError(
        f"step {batch.step}: {what}. Weights, gradients and the batch are in {path}; the last checkpoint is from "
        "before. Lower the learning rate, clip the gradient, or bound the scales of the model"
    )
