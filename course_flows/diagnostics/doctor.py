"""Diagnose a flow: measure its layers, compare with what is healthy, say what to do."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_flows.diagnostics.measures import Jacobian, log_scales, measure_jacobian, reconstruction_error
from course_flows.diagnostics.report import Diagnosis, LayerReport
from course_flows.diagnostics.walk import LayerError, Visit, walk
from course_flows.flow import Flow

__all__ = ["diagnose"]

SATURATED_SHARE = 0.25
LARGE_LOG_SCALE = 7.0
LARGE_OUTPUT = 1e4
WRONG_INVERSE = 1e-6
WRONG_LOG_DET = 1e-6
LARGEST_CONDITION = 1e15  # what is larger is rounding, in float64 too


def diagnose(
    flow: Flow,
    x: Tensor,
    context: Tensor | None = None,
    *,
    jacobians: bool = True,
    jacobian_points: int = 2,
    exact_limit: int = 256,
) -> Diagnosis:
    """Examine each layer of a flow at points of its data, in eval mode and on copies: the flow is not changed.

    Of each leaf of the transform (see `walk`): is everything finite, does the inverse undo the layer in the dtype of
    the flow and in float64, is the log-determinant that of the Jacobian, how well is the Jacobian conditioned, how near
    are log-scales to their bound, how large do values get. The whole flow: does `decode` undo `encode`.

    Arguments:
        flow: any flow.
        x: points ``(N, *event)`` such as a batch of the data.
        context: one row for each point, ``(N, ...)``.
        jacobians: whether to look at determinants and conditioning, which is what takes time.
        jacobian_points: how many points that is done for.
        exact_limit: points of more values than this get estimates from random directions, which say so: the
            log-determinant with its standard error, the condition number as a lower bound. The cost for a layer is a
            pass of as many copies of a point as it has values, or about 100 passes of 8 copies for an estimate.

    Raises ValueError where the points have the wrong shape or dtype or are not finite.

    >>> from course_flows.distributions import StandardNormal
    >>> from course_flows.transforms import Diagonal
    >>> found = diagnose(Flow(Diagonal(2), StandardNormal(2)), torch.zeros(5, 2))
    >>> found.layers[0].name, found.warnings
    ('transform', ())
    """
    flow.check_points(x, "diagnose")
    if x.dim() != len(flow.event_shape) + 1 or len(x) < 1:
        raise ValueError(f"diagnose expects points of shape (N, *event) with N of at least 1, found {tuple(x.shape)}")
    if jacobian_points < 1:
        raise ValueError(f"diagnose expects at least 1 point for Jacobians, found {jacobian_points}")
    if context is not None and (context.dim() < 1 or len(context) != len(x)):
        raise ValueError(f"diagnose expects a context of {len(x)} rows, found {tuple(context.shape)}")
    devices = [x.device] if x.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        own = copy.deepcopy(flow).eval().requires_grad_(False)
        return _examine(
            own, x.detach(), None if context is None else context.detach(), jacobians, jacobian_points, exact_limit
        )


@torch.no_grad()
def _examine(
    own: Flow, x: Tensor, context: Tensor | None, jacobians: bool, jacobian_points: int, exact_limit: int
) -> Diagnosis:
    few = slice(0, jacobian_points)
    context64 = None if context is None else _double(context[few])
    precise = walk(copy.deepcopy(own).double().transform, x[few].double(), context64)
    layers: list[LayerReport] = []
    stopped: list[str] = []
    try:
        for visit in walk(own.transform, x, context):
            report = _in_own_dtype(visit, context)
            if not report.finite:
                layers.append(_with_warnings(report, [_not_finite(visit)]))
                break
            report, found = _in_float64(report, precise, context64, jacobians, exact_limit)
            layers.append(_with_warnings(report, [*found, *_sentences(report, torch.finfo(x.dtype))]))
    except LayerError as error:
        stopped.append(f"{error}. Nothing after it could be examined.")
    through = not stopped and all(layer.finite for layer in layers)
    whole = reconstruction_error(own.transform, x, context) if through else None
    if whole is not None and whole > math.sqrt(torch.finfo(x.dtype).eps):
        stopped.append(
            f"decode(encode(x)) is off by {whole:.1e}: use float64 (flow.double()) where samples or reconstructions "
            "matter, or mend the layers with the largest condition numbers."
        )
    sentences = [sentence for layer in layers for sentence in layer.warnings]
    return Diagnosis(tuple(layers), whole, len(x), str(x.dtype).removeprefix("torch."), (*sentences, *stopped))


def _in_own_dtype(visit: Visit, context: Tensor | None) -> LayerReport:
    """Return what the dtype of the flow shows."""
    finite = bool(torch.isfinite(visit.z).all() and torch.isfinite(visit.log_det).all())
    report = LayerReport(visit.name, visit.kind, finite, visit.z.min().item(), visit.z.max().item())
    if not finite:
        return report
    scales = log_scales(visit.transform, visit.x, context)
    return dataclasses.replace(
        report,
        reconstruction=reconstruction_error(visit.transform, visit.x, context),
        near_the_bound=None if scales is None else scales.near_the_bound,
        log_scale_low=None if scales is None else scales.low,
        log_scale_high=None if scales is None else scales.high,
    )


def _in_float64(
    report: LayerReport, precise: Iterator[Visit], context: Tensor | None, jacobians: bool, exact_limit: int
) -> tuple[LayerReport, list[str]]:
    """Add what a copy in float64 shows, where rounding is no excuse."""
    try:
        visit = next(precise, None)
        if visit is None:  # an earlier layer stopped the walk
            return report, []
        found: list[Jacobian] = []
        for k in range(len(visit.x) if jacobians else 0):
            row = None if context is None else context[k : k + 1]
            found.append(measure_jacobian(visit.transform, visit.x[k : k + 1], row, exact_limit))
    except Exception as problem:
        return report, [f"{report.name} ({report.kind}) could not be checked in float64: {problem}"]
    error = reconstruction_error(visit.transform, visit.x, context)
    report = dataclasses.replace(report, reconstruction_float64=error)
    if not found:
        return report, []
    errors = [abs(log_det.item() - jacobian.log_det) for log_det, jacobian in zip(visit.log_det, found)]
    worst = max(range(len(found)), key=lambda k: errors[k] if math.isfinite(errors[k]) else math.inf)
    report = dataclasses.replace(
        report,
        log_det_error=errors[worst],
        log_det_standard_error=found[worst].standard_error,
        exact=found[worst].exact,
        condition=max(jacobian.condition for jacobian in found),
    )
    return report, _about_log_det(report, found[worst], visit.x[0].numel())


def _about_log_det(report: LayerReport, jacobian: Jacobian, size: int) -> list[str]:
    assert report.log_det_error is not None
    if jacobian.exact:
        allowed = max(WRONG_LOG_DET, 1e-14 * jacobian.condition) * max(1.0, abs(jacobian.log_det))
        how = "the Jacobian by autograd"
    else:
        allowed = 6 * jacobian.standard_error + 0.01 * size
        how = f"an estimate from random directions (standard error {jacobian.standard_error:.1e})"
    if report.log_det_error <= allowed:
        return []
    return [
        f"{report.name} ({report.kind}) says a log-determinant that is off by {report.log_det_error:.1e} from that of "
        f"{how}: densities are wrong. Check its sign and which values it sums over."
    ]


def _sentences(report: LayerReport, dtype: torch.finfo) -> Iterator[str]:
    """Yield a sentence for each measurement that is not healthy."""
    who = f"{report.name} ({report.kind})"
    condition = report.condition or 1.0
    exact, rounded = report.reconstruction_float64 or 0.0, report.reconstruction or 0.0
    if condition > min(1e-2 / dtype.eps, 1e10):
        digits = -math.log10(dtype.eps)
        shown = f"{condition:.1e}" if condition < LARGEST_CONDITION else f"above {LARGEST_CONDITION:.0e}"
        yield (
            f"{who} is near singular, condition number {shown}: its inverse loses about "
            f"{min(math.log10(condition), digits):.0f} of the {digits:.0f} digits there are. Keep its scales nearer to "
            "each other, or use float64."
        )
    elif exact > WRONG_INVERSE:
        how = f"off by {exact:.1e}" if math.isfinite(exact) else "the inverse fails"
        yield (
            f"{who} is not undone by its inverse: {how} in float64, where rounding cannot be the reason. Check that "
            "inverse solves forward, with the same context and in eval mode."
        )
    elif rounded > math.sqrt(dtype.eps):
        yield (
            f"{who} is undone by its inverse up to {rounded:.1e} only: its numbers are too large for the digits of its "
            "dtype. Scale the data, or use float64."
        )
    if report.near_the_bound is not None and report.near_the_bound > SATURATED_SHARE:
        yield (
            f"{who} has {report.near_the_bound:.0%} of its log-scales within 5 % of their bound, where they stop "
            "learning. Scale the data to unit variance, lower the learning rate, or raise the bound."
        )
    largest = max(abs(report.log_scale_low or 0.0), abs(report.log_scale_high or 0.0))
    if report.near_the_bound is None and largest > LARGE_LOG_SCALE:
        yield (
            f"{who} has log-scales from {report.log_scale_low:.3g} to {report.log_scale_high:.3g} and no bound: exp of "
            "them overflows soon. Bound them, for example by AffineCoupling(..., bound=3.0)."
        )
    if max(abs(report.low), abs(report.high)) > LARGE_OUTPUT:
        yield (
            f"{who} gives values from {report.low:.3g} to {report.high:.3g}, far from where a base distribution has "
            "its mass. Scale the data, or look at the scales of this layer."
        )


def _not_finite(visit: Visit) -> str:
    """Say that a layer is the first to lose finite numbers, and which of its parameters are to blame."""
    count = int((~torch.isfinite(visit.z)).sum() + (~torch.isfinite(visit.log_det)).sum())
    state = [*visit.transform.named_parameters(), *visit.transform.named_buffers()]
    bad = [name for name, tensor in state if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    reason = (
        f"Its {', '.join(bad)} {'holds' if len(bad) == 1 else 'hold'} NaN or infinite numbers: go back to an earlier "
        "checkpoint and train with a lower learning rate or clipped gradients."
        if bad
        else "Its parameters are finite, so that a scale or a value overflowed: bound the scales or scale the data."
    )
    return (
        f"{visit.name} ({visit.kind}) is the first layer that gives NaN or infinite numbers ({count} of them) for "
        f"finite points. {reason} Nothing after it could be examined."
    )


def _with_warnings(report: LayerReport, warnings: list[str]) -> LayerReport:
    return dataclasses.replace(report, warnings=tuple(warnings))


def _double(context: Tensor) -> Tensor:
    return context.double() if context.is_floating_point() else context
