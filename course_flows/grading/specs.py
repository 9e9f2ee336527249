"""Declared return types: what a call must give back, checked before a hidden suite sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from course_flows.grading.protocol import Opaque

__all__ = [
    "BooleanSpec",
    "HandleSpec",
    "IntegerSpec",
    "ScalarSpec",
    "Spec",
    "TensorSpec",
    "boolean",
    "check",
    "handle",
    "integer",
    "layout",
    "scalar",
    "tensor",
]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of one exact shape and dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    finite: bool


@dataclass(frozen=True)
class ScalarSpec:
    """One real number."""

    finite: bool


@dataclass(frozen=True)
class IntegerSpec:
    """One whole number."""


@dataclass(frozen=True)
class BooleanSpec:
    """True or False."""


@dataclass(frozen=True)
class HandleSpec:
    """An object that stays in the worker."""


Spec: TypeAlias = "TensorSpec | ScalarSpec | IntegerSpec | BooleanSpec | HandleSpec | tuple[Spec, ...]"


def tensor(*shape: int, dtype: torch.dtype = torch.float64, finite: bool = True) -> TensorSpec:
    """Declare a tensor of exactly this shape and dtype; ``finite=False`` also allows inf and NaN."""
    return TensorSpec(tuple(int(size) for size in shape), dtype, finite)


def scalar(*, finite: bool = True) -> ScalarSpec:
    """Declare one number: a Python int or float, or a tensor with no dimensions; arrives as a float."""
    return ScalarSpec(finite)


def integer() -> IntegerSpec:
    """Declare one whole number: a Python int, or an integer tensor with no dimensions; arrives as an int."""
    return IntegerSpec()


def boolean() -> BooleanSpec:
    """Declare True or False: a Python bool, or a bool tensor with no dimensions; arrives as a bool."""
    return BooleanSpec()


def handle() -> HandleSpec:
    """Declare an object that stays in the worker; a handle to it arrives."""
    return HandleSpec()


def layout(spec: Spec) -> Any:
    """Return the shape of a declaration as nested tuples: True where a handle is wanted, None elsewhere."""
    if isinstance(spec, tuple):
        return tuple(layout(part) for part in spec)
    return True if isinstance(spec, HandleSpec) else None


def check(value: Any, spec: Spec, handle_type: type, what: str = "the result") -> Any:
    """Return ``value`` as declared by ``spec``; raise ValueError with a sentence where it is not."""
    if isinstance(spec, tuple):
        return _check_tuple(value, spec, handle_type, what)
    if isinstance(spec, TensorSpec):
        return _check_tensor(value, spec, what)
    if isinstance(spec, HandleSpec):
        if type(value) is not handle_type:
            raise ValueError(f"{what} must be an object, found {describe(value)}")
        return value
    if type(value) is Tensor and value.dim() == 0:
        value = value.item()
    if isinstance(spec, ScalarSpec):
        if type(value) not in (int, float):
            raise ValueError(f"{what} must be one number, found {describe(value)}")
        if spec.finite and not math.isfinite(value):
            raise ValueError(f"{what} must be a finite number, found {value}")
        return float(value)
    wanted, words = (int, "a whole number") if isinstance(spec, IntegerSpec) else (bool, "True or False")
    if type(value) is not wanted:
        raise ValueError(f"{what} must be {words}, found {describe(value)}")
    return value


def _check_tuple(value: Any, spec: tuple[Spec, ...], handle_type: type, what: str) -> tuple[Any, ...]:
    if type(value) not in (tuple, list) or len(value) != len(spec):
        raise ValueError(f"{what} must be a tuple of {len(spec)} values, found {describe(value)}")
    names = [f"value {n} of {what}" for n in range(1, len(spec) + 1)]
    return tuple(check(part, each, handle_type, name) for part, each, name in zip(value, spec, names))


def _check_tensor(value: Any, spec: TensorSpec, what: str) -> Tensor:
    if type(value) is not Tensor:
        raise ValueError(f"{what} must be a tensor of shape {spec.shape}, found {describe(value)}")
    if tuple(value.shape) != spec.shape:
        raise ValueError(f"{what} must have shape {spec.shape}, found shape {tuple(value.shape)}")
    if value.dtype != spec.dtype:
        raise ValueError(f"{what} must have dtype {spec.dtype}, found {value.dtype}")
    if spec.finite and not bool(torch.isfinite(value).all()):
        raise ValueError(f"{what} must be finite, found NaN or infinity in it")
    return value


def describe(value: Any) -> str:
    """Say in a few words what a value from the worker is."""
    if isinstance(value, Opaque):
        return f"a value of type {value.type_name}"
    if value is None:
        return "None (is a return missing?)"
    if type(value) is Tensor:
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    if type(value) in (tuple, list):
        return f"a {type(value).__name__} of {len(value)} values"
    return f"a {type(value).__name__}"
