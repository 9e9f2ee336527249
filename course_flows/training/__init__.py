"""Maximum-likelihood training and the numbers that are reported."""

from course_flows.training.loop import History, fit
from course_flows.training.metrics import BitsPerDim, bits_per_dim

__all__ = ["BitsPerDim", "History", "bits_per_dim", "fit"]
