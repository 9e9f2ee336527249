"""Maximum-likelihood training and the numbers that are reported."""

from course_flows.training.checkpoint import load_weights, save_weights
from course_flows.training.loop import History, fit
from course_flows.training.metrics import BitsPerDim, bits_per_dim
from course_flows.training.runs import load_run

__all__ = ["BitsPerDim", "History", "bits_per_dim", "fit", "load_run", "load_weights", "save_weights"]
