"""Course Flows: normalizing flows whose derivations are executed, and the package behind the course.

Names are imported when they are first used, so that the command line starts without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course_flows.flow import Flow, FlowDistribution
    from course_flows.training.loop import History, fit
    from course_flows.training.metrics import BitsPerDim, bits_per_dim
    from course_flows.transforms.base import Compose, Inverse, Transform
    from course_flows.transforms.preprocessing import dequantize, quantize

__all__ = [
    "BitsPerDim",
    "Compose",
    "Flow",
    "FlowDistribution",
    "History",
    "Inverse",
    "Transform",
    "bits_per_dim",
    "dequantize",
    "fit",
    "quantize",
]

_MODULES = {
    "BitsPerDim": "training.metrics",
    "Compose": "transforms.base",
    "Flow": "flow",
    "FlowDistribution": "flow",
    "History": "training.loop",
    "Inverse": "transforms.base",
    "Transform": "transforms.base",
    "bits_per_dim": "training.metrics",
    "dequantize": "transforms.preprocessing",
    "fit": "training.loop",
    "quantize": "transforms.preprocessing",
}
_SUBPACKAGES = (
    *("applications", "data", "dequantization", "diagnostics", "distributions", "flow"),
    *("models", "nets", "plotting", "training", "transforms"),
)


def __getattr__(name: str) -> Any:
    """Import a public name, or a part of the package, when it is first asked for."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"course_flows.{_MODULES[name]}"), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"course_flows.{name}")
    raise AttributeError(f"module 'course_flows' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
