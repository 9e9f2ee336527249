"""Invertible maps with log-determinants. ``forward`` is data to latent, ``inverse`` latent to data."""

from course_flows.transforms.base import Compose, Inverse, TorchTransform, Transform
from course_flows.transforms.coupling import AffineCoupling
from course_flows.transforms.factored import LULinear, QRLinear
from course_flows.transforms.linear import DenseLinear, Diagonal, Permutation, Triangular
from course_flows.transforms.monotone import LeakyReLU, MonotoneSpline
from course_flows.transforms.preprocessing import Logit, dequantize, quantize

__all__ = [
    "AffineCoupling",
    "Compose",
    "DenseLinear",
    "Diagonal",
    "Inverse",
    "LULinear",
    "LeakyReLU",
    "Logit",
    "MonotoneSpline",
    "Permutation",
    "QRLinear",
    "TorchTransform",
    "Transform",
    "Triangular",
    "dequantize",
    "quantize",
]
