"""Invertible maps with log-determinants. ``forward`` is data to latent, ``inverse`` latent to data."""

from course_flows.transforms.autoregressive import AutoregressiveStack, InverseAutoregressive, MaskedAutoregressive
from course_flows.transforms.base import Compose, Inverse, TorchTransform, Transform
from course_flows.transforms.coupling import AdditiveCoupling, AffineCoupling, Coupling, LearnedTanh
from course_flows.transforms.factored import LULinear, QRLinear
from course_flows.transforms.images import Flatten, MultiScale, Squeeze
from course_flows.transforms.linear import DenseLinear, Diagonal, Permutation, Triangular
from course_flows.transforms.masks import alternating_mask, channel_mask, checkerboard_mask, half_mask
from course_flows.transforms.mixing import ChannelPermutation, Conv1x1, FlowStep
from course_flows.transforms.monotone import LeakyReLU, MonotoneSpline
from course_flows.transforms.normalization import ActNorm, BatchNorm
from course_flows.transforms.preprocessing import Logit, dequantize, quantize
from course_flows.transforms.reversible import ReversibleCompose
from course_flows.transforms.stack import CouplingStack

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "AutoregressiveStack",
    "BatchNorm",
    "ChannelPermutation",
    "Compose",
    "Conv1x1",
    "Coupling",
    "CouplingStack",
    "DenseLinear",
    "Diagonal",
    "Flatten",
    "FlowStep",
    "Inverse",
    "InverseAutoregressive",
    "LULinear",
    "LeakyReLU",
    "LearnedTanh",
    "Logit",
    "MaskedAutoregressive",
    "MonotoneSpline",
    "MultiScale",
    "Permutation",
    "QRLinear",
    "ReversibleCompose",
    "Squeeze",
    "TorchTransform",
    "Transform",
    "Triangular",
    "alternating_mask",
    "channel_mask",
    "checkerboard_mask",
    "dequantize",
    "half_mask",
    "quantize",
]
