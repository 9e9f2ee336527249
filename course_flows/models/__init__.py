"""The models of the papers, built from transforms, networks and bases."""

from course_flows.models.autoregressive import iaf, made, maf
from course_flows.models.glow import SigmoidScale, glow
from course_flows.models.nice import nice
from course_flows.models.presets import MODELS, PRESETS, Preset, build
from course_flows.models.real_nvp import real_nvp, real_nvp_flat

__all__ = [
    "MODELS",
    "PRESETS",
    "Preset",
    "SigmoidScale",
    "build",
    "glow",
    "iaf",
    "made",
    "maf",
    "nice",
    "real_nvp",
    "real_nvp_flat",
]
