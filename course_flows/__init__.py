"""Course Flows: normalizing flows whose derivations are executed, and the package behind the course."""

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
