"""What the doctor found, for people and for files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

__all__ = ["Diagnosis", "LayerReport"]


@dataclass(frozen=True)
class LayerReport:
    """Measurements of one layer; None where something was not measured or does not apply.

    Attributes:
        name: path of the layer, as ``flow.get_submodule`` takes it.
        kind: its class.
        finite: whether all outputs and log-determinants are finite.
        low, high: range of its outputs.
        reconstruction: largest error of inverse after forward in the flow's dtype, for values beyond 1 as a part of
            their size.
        reconstruction_float64: the same in float64, where rounding cannot be the reason.
        log_det_error: largest difference of the log-determinant from that of the Jacobian by autograd, in float64.
        log_det_standard_error: of that determinant.
        exact: whether determinant and condition come from the whole Jacobian; else they are estimates from random
            directions.
        condition: largest over smallest singular value of the Jacobian; a lower bound where it is estimated.
        near_the_bound: share of the log-scales beyond 95 % of their bound.
        log_scale_low, log_scale_high: range of the log-scales.
        warnings: sentences.
    """

    name: str
    kind: str
    finite: bool
    low: float
    high: float
    reconstruction: float | None = None
    reconstruction_float64: float | None = None
    log_det_error: float | None = None
    log_det_standard_error: float | None = None
    exact: bool = True
    condition: float | None = None
    near_the_bound: float | None = None
    log_scale_low: float | None = None
    log_scale_high: float | None = None
    warnings: tuple[str, ...] = ()


COLUMNS = ("layer", "kind", "inverse error", "log-det error", "condition", "log-scales", "at bound", "outputs")


@dataclass(frozen=True)
class Diagnosis:
    """Result of `diagnose`.

    Attributes:
        layers: one report for each layer that the points reached, in their order.
        reconstruction: largest error of ``decode(encode(x))`` of the whole flow, for values beyond 1 as a part of
            their size; None where the points did not get through.
        points: how many points were followed.
        dtype: of the flow.
        warnings: one plain sentence for each thing that is wrong, with what to do; empty for a healthy flow.
    """

    layers: tuple[LayerReport, ...]
    reconstruction: float | None
    points: int
    dtype: str
    warnings: tuple[str, ...]

    def table(self) -> str:
        """Return the measurements as aligned text; ``~`` marks estimates from random directions."""
        rows = [COLUMNS, *map(_row, self.layers)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        whole = f"whole flow, {self.points} points, {self.dtype}: inverse error {_number(self.reconstruction)}"
        return "\n".join([*lines, whole])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON; numbers that are not finite become None."""
        return _plain(dataclasses.asdict(self))

    def __str__(self) -> str:
        return "\n".join([self.table(), *self.warnings])


def _row(layer: LayerReport) -> tuple[str, ...]:
    about = "" if layer.exact else "~"
    return (
        layer.name,
        layer.kind,
        _number(layer.reconstruction),
        about + _number(layer.log_det_error),
        about + _number(layer.condition),
        _range(layer.log_scale_low, layer.log_scale_high),
        "" if layer.near_the_bound is None else f"{layer.near_the_bound:.0%}",
        _range(layer.low, layer.high),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3g} to {high:.3g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
