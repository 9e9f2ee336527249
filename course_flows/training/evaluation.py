"""The numbers of a flow on a split, each with its standard error."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from course_flows.flow import Flow
from course_flows.training.data_feed import Split
from course_flows.training.devices import denormals_as_zero, seeded
from course_flows.training.metrics import bits_per_dim, evaluation
from course_flows.transforms.base import Compose, Transform, sum_event
from course_flows.transforms.images import Flatten
from course_flows.transforms.preprocessing import Logit, dequantize

__all__ = ["Score", "finite_or_none", "score"]

BATCH = 256


@dataclass(frozen=True)
class Score:
    """Mean log-likelihoods of the images or points of a split; higher is better, except for bits per dimension.

    Attributes:
        nats: in nats an image (lower bound on log P, see `bits_per_dim`) or a point (log-density).
        log_density: images only, the mean log-density in nats of dequantized images in [0, 1]^D.
        bits_per_dim: images only.
        original_units: tables only, ``nats`` for the rows in the units of the table, not standardized.
        logit_density: images only, for flows that begin with a `Logit`: the mean log-density in nats of the logits, as
            papers on autoregressive flows state it.
        nats_error, …: standard errors of the means over images or points.
        count, samples: images or points, and noise samples an image.
    """

    nats: float
    nats_error: float
    count: int
    samples: int = 1
    bits_per_dim: float | None = None
    bits_per_dim_error: float | None = None
    log_density: float | None = None
    log_density_error: float | None = None
    original_units: float | None = None
    original_units_error: float | None = None
    logit_density: float | None = None
    logit_density_error: float | None = None

    def named(self, split: str) -> dict[str, float | None]:
        """Return the numbers that there are, with names such as ``test_nats`` and ``test_nats_standard_error``.

        What is not finite, and so no JSON number, is None.
        """
        names = {
            "nats": "nats",
            "bits_per_dim": "bits_per_dim",
            "log_density": "log_density_nats",
            "logit_density": "logit_density_nats",
            "original_units": "nats_original_units",
        }
        found: dict[str, float | None] = {}
        for name, public in names.items():
            if getattr(self, name) is not None:
                found[f"{split}_{public}"] = finite_or_none(getattr(self, name))
                found[f"{split}_{public}_standard_error"] = finite_or_none(getattr(self, f"{name}_error"))
        return found


def finite_or_none(value: float) -> float | None:
    """Return the value where JSON can hold it."""
    return value if math.isfinite(value) else None


@torch.no_grad()
def score(flow: Flow, split: Split, samples: int = 1, seed: int = 0, logits: bool = False) -> Score:
    """Score a flow, in its own dtype, on the device where the split is.

    Images are dequantized with noise that `seed` decides, by default once. More `samples` tighten the bound of
    ``nats`` and ``bits_per_dim``; ``log_density`` is the mean over one sample an image in any case. ``logit_density``
    takes one more pass and is computed with `logits` alone.
    """
    device = split.values.device
    with seeded(seed, device), denormals_as_zero():
        if split.levels is None:
            return _score_points(flow, split)
        size = math.prod(split.event_shape)
        bound = bits_per_dim(flow, split.values, split.levels, samples, batch_size=BATCH)
        once = bound if samples == 1 else bits_per_dim(flow, split.values, split.levels, batch_size=BATCH)
        in_logits = _score_logits(flow, split) if logits else None
    nats_per_bit = size * math.log(2)
    return Score(
        nats=bound.nats,
        nats_error=bound.standard_error * nats_per_bit,
        count=bound.images,
        samples=samples,
        bits_per_dim=bound.bits,
        bits_per_dim_error=bound.standard_error,
        log_density=once.nats + size * math.log(split.levels),
        log_density_error=once.standard_error * nats_per_bit,
        logit_density=in_logits and in_logits[0],
        logit_density_error=in_logits and in_logits[1],
    )


def first_logit(flow: Flow) -> Logit | None:
    """Return the `Logit` that a flow begins with, if it does."""
    part: Transform = flow.transform
    while isinstance(part, (Flatten, Compose)):
        if isinstance(part, Compose) and not len(part):
            return None
        part = part.transform if isinstance(part, Flatten) else part[0]
    return part if isinstance(part, Logit) else None


def _score_logits(flow: Flow, split: Split) -> tuple[float, float] | None:
    """Return mean and standard error of the log-density of the logits of images dequantized once."""
    logit = first_logit(flow)
    if logit is None or split.levels is None:
        return None
    found = []
    dtype, ndim = flow.base.anchor.dtype, len(flow.event_shape)
    with evaluation(flow):
        for images in split.values.split(BATCH):
            points = dequantize(images, split.levels, dtype=dtype)
            log_det = logit(points)[1]
            found.append(
                (flow.log_prob(points) - sum_event(log_det, log_det.dim() - (points.dim() - ndim))).cpu().double()
            )
    every = torch.cat(found)
    return every.mean().item(), every.std().item() / math.sqrt(len(every)) if len(every) > 1 else math.nan


def _score_points(flow: Flow, split: Split) -> Score:
    with evaluation(flow):
        points = split.values.to(flow.base.anchor.dtype)
        found = torch.cat([flow.log_prob(batch).cpu().double() for batch in points.split(BATCH * 16)])
    error = found.std().item() / math.sqrt(len(found)) if len(found) > 1 else math.nan
    nats = found.mean().item()
    if split.units is None:
        return Score(nats, error, len(found))
    # the same error: the map between the units is affine, so that all rows differ by one number
    return Score(nats, error, len(found), original_units=nats - split.units.log_scale, original_units_error=error)
