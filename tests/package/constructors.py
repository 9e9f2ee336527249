"""The table that drives the property tests: a new transform is one line here.

Each entry builds a transform in float64 with parameters that were moved away from their start (so that no
log-determinant is zero by accident) and a batch of points of its domain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import transforms as torch_transforms

from course_flows import Compose, Inverse, Transform
from course_flows.conv_nets import ConvNet
from course_flows.made import MADE
from course_flows.models.flow_steps import FlowSteps
from course_flows.nets import MLP, ResidualConvNet
from course_flows.transforms import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    AutoregressiveStack,
    BatchNorm,
    ChannelPermutation,
    Conv1x1,
    Coupling,
    CouplingStack,
    DenseLinear,
    Diagonal,
    Flatten,
    FlowStep,
    InverseAutoregressive,
    LeakyReLU,
    LearnedTanh,
    Logit,
    LULinear,
    MaskedAutoregressive,
    MonotoneSpline,
    MultiScale,
    Permutation,
    QRLinear,
    ReversibleCompose,
    Squeeze,
    TorchTransform,
    Triangular,
    channel_mask,
    checkerboard_mask,
    half_mask,
)


@dataclass(frozen=True)
class Case:
    build: Callable[[], Transform]
    event: tuple[int, ...] = (4,)
    unit_interval: bool = False  # the domain is (0, 1)
    keeps_volume: bool = False  # the log-determinant is 0 by design
    smooth: bool = True
    keeps_shape: bool = True

    def transform(self, seed: int = 0) -> Transform:
        torch.manual_seed(seed)
        transform = self.build().double()
        with torch.no_grad():
            for p in transform.parameters():
                p.add_(0.4 * torch.randn_like(p))
        return transform.eval()

    def points(self, *batch: int, seed: int = 1) -> Tensor:
        x = torch.randn(*batch, *self.event, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        return torch.sigmoid(x) if self.unit_interval else x


def conv(kept: int, out: int) -> ResidualConvNet:
    return ResidualConvNet(kept, out, channels=4, blocks=1, activation="elu")


def batch_norm(features: int, event_ndim: int = 1) -> BatchNorm:
    """A batch norm that has seen a batch."""
    norm = BatchNorm(features, event_ndim, momentum=1.0)
    norm(1.0 + 3.0 * torch.randn(20, features, *(2,) * (event_ndim - 1)))
    return norm


def coupling(channels: int, height: int, width: int) -> AffineCoupling:
    if height * width == 1:
        return AffineCoupling(channel_mask(channels), conv(channels // 2, channels))
    return AffineCoupling(checkerboard_mask(height, width), conv(channels, 2 * channels))


def level(channels: int, size: int) -> Compose:
    return Compose(coupling(channels, size, size), Squeeze())


def matrix(features: int = 4) -> Tensor:
    return torch.randn(features, features, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def flow_step(mixing: Transform) -> FlowStep:
    """A step of Glow with a small network."""
    coupling = AffineCoupling(channel_mask(4), ConvNet(2, 4, 4, zero_init=False))
    return FlowStep(ActNorm(4, event_ndim=3), mixing, coupling)


def flow_steps(*couplings: Coupling) -> FlowSteps:
    """Two steps of Glow, and more with other couplings, that run together."""
    others = [FlowStep(ActNorm(4, event_ndim=3), Conv1x1(4, seed=9), coupling) for coupling in couplings]
    return FlowSteps(flow_step(Conv1x1(4)), *others, flow_step(Conv1x1(4, seed=5)))


CASES: dict[str, Case] = {
    "Permutation": Case(lambda: Permutation([2, 0, 3, 1]), keeps_volume=True),
    "Permutation.reversal": Case(lambda: Permutation.reversal(4), keeps_volume=True),
    "Permutation.random": Case(lambda: Permutation.random(4, seed=3), keeps_volume=True),
    "Diagonal": Case(lambda: Diagonal(4)),
    "Diagonal without shift": Case(lambda: Diagonal(4, shift=False)),
    "Triangular lower": Case(lambda: Triangular(4)),
    "Triangular upper": Case(lambda: Triangular(4, lower=False)),
    "LULinear": Case(lambda: LULinear(4)),
    "LULinear.from_matrix": Case(lambda: LULinear.from_matrix(matrix())),
    "QRLinear": Case(lambda: QRLinear(4)),
    "QRLinear 2 reflections": Case(lambda: QRLinear(4, reflections=2)),
    "QRLinear.from_matrix": Case(lambda: QRLinear.from_matrix(matrix())),
    "DenseLinear": Case(lambda: DenseLinear.from_matrix(matrix())),
    "LULinear one feature": Case(lambda: LULinear(1), event=(1,)),
    "LeakyReLU": Case(lambda: LeakyReLU(0.3), smooth=False),
    "LeakyReLU on images": Case(lambda: LeakyReLU(0.3, event_ndim=3), event=(2, 3, 3), smooth=False),
    "MonotoneSpline": Case(lambda: MonotoneSpline(4, bins=6, bound=2.0)),
    "MonotoneSpline one feature": Case(lambda: MonotoneSpline(1, bins=5, bound=3.0), event=(1,)),
    "Logit": Case(lambda: Logit(0.05), unit_interval=True),
    "Logit alpha 0": Case(lambda: Logit(0.0), unit_interval=True),
    "Logit on images": Case(lambda: Logit(0.01, event_ndim=3), event=(1, 2, 3), unit_interval=True),
    "TorchTransform sigmoid": Case(lambda: TorchTransform(torch_transforms.SigmoidTransform())),
    "TorchTransform decreasing": Case(
        lambda: TorchTransform(torch_transforms.AffineTransform(0.5, -2.0)),
    ),
    "AffineCoupling": Case(lambda: AffineCoupling.mlp(4, hidden=(8,))),
    "AffineCoupling flip, odd": Case(lambda: AffineCoupling.mlp(5, hidden=(8,), flip=True), event=(5,)),
    "AffineCoupling interleaved": Case(
        lambda: AffineCoupling(torch.tensor([True, False, True, False]), torch.nn.Linear(2, 4))
    ),
    "AdditiveCoupling": Case(lambda: AdditiveCoupling.mlp(4, hidden=(8,)), keeps_volume=True),
    "AffineCoupling learned bound": Case(
        lambda: AffineCoupling([True, False, False], MLP(1, 4, (8,)), bound=LearnedTanh(2)), event=(3,)
    ),
    "AffineCoupling no bound": Case(lambda: AffineCoupling.mlp(4, hidden=(8,), bound=None)),
    "AffineCoupling channels": Case(lambda: AffineCoupling(channel_mask(3), conv(1, 4)), event=(3, 2, 2)),
    "AffineCoupling channels flipped": Case(
        lambda: AffineCoupling(channel_mask(3, flip=True), conv(2, 2)), event=(3, 2, 2)
    ),
    "AffineCoupling checkerboard": Case(lambda: AffineCoupling(checkerboard_mask(2, 4), conv(2, 4)), event=(2, 2, 4)),
    "AffineCoupling pixels and channels": Case(
        lambda: AffineCoupling(checkerboard_mask(2, 3) ^ channel_mask(2), conv(2, 4)), event=(2, 2, 3)
    ),
    "AdditiveCoupling checkerboard": Case(
        lambda: AdditiveCoupling(checkerboard_mask(3, 2, flip=True), conv(1, 1)), event=(1, 3, 2), keeps_volume=True
    ),
    "BatchNorm": Case(lambda: batch_norm(4)),
    "BatchNorm on images": Case(lambda: batch_norm(2, event_ndim=3), event=(2, 2, 3)),
    "Squeeze": Case(Squeeze, event=(2, 4, 2), keeps_volume=True, keeps_shape=False),
    "Flatten": Case(lambda: Flatten(AffineCoupling.mlp(8, (8,)), (2, 2, 2)), event=(2, 2, 2)),
    "MultiScale": Case(lambda: MultiScale([level(1, 4), level(2, 2), coupling(4, 1, 1)]), event=(1, 4, 4)),
    "MultiScale with scalars": Case(
        lambda: MultiScale([level(1, 2), LeakyReLU(0.5, event_ndim=0)], priors=[LeakyReLU(0.3, event_ndim=0)]),
        event=(1, 2, 2),
        smooth=False,
    ),
    "MultiScale with priors": Case(
        lambda: MultiScale([level(1, 4), coupling(2, 2, 2)], priors=[AffineCoupling(channel_mask(4), conv(2, 4))]),
        event=(1, 4, 4),
    ),
    "ReversibleCompose": Case(
        lambda: ReversibleCompose(
            AffineCoupling.mlp(4, (8,)), LeakyReLU(0.5, event_ndim=0), AffineCoupling.mlp(4, (8,), flip=True)
        ),
        smooth=False,
    ),
    "MaskedAutoregressive": Case(lambda: MaskedAutoregressive(MADE(4, hidden=(7, 6), activation="tanh"))),
    "MaskedAutoregressive residual": Case(
        lambda: MaskedAutoregressive(MADE(4, hidden=(7,) * 3, activation="elu", residual=True, order=[2, 0, 3, 1]))
    ),
    "InverseAutoregressive": Case(
        lambda: InverseAutoregressive(MADE(4, hidden=(7,), activation="tanh", order=[3, 2, 1, 0]), bound=None)
    ),
    "AutoregressiveStack": Case(
        lambda: AutoregressiveStack(
            MaskedAutoregressive(MADE(4, hidden=(7, 6), activation="tanh")),
            MaskedAutoregressive(MADE(4, hidden=(7,), activation="tanh", order=[3, 2, 1, 0])),
        )
    ),
    "ActNorm": Case(lambda: ActNorm(4)),
    "ActNorm on images": Case(lambda: ActNorm(2, event_ndim=3), event=(2, 3, 3)),
    "ChannelPermutation": Case(lambda: ChannelPermutation.random(4, seed=2), event=(4, 2, 2), keeps_volume=True),
    "Conv1x1 plain": Case(lambda: Conv1x1(3, "plain"), event=(3, 2, 2)),
    "Conv1x1 LU": Case(lambda: Conv1x1(3, "lu"), event=(3, 2, 2)),
    "Conv1x1 QR": Case(lambda: Conv1x1(3, "qr"), event=(3, 2, 2)),
    "FlowStep": Case(lambda: flow_step(Conv1x1(4)), event=(4, 3, 2), smooth=False),
    "FlowStep shuffled": Case(lambda: flow_step(ChannelPermutation.random(4)), event=(4, 3, 2), smooth=False),
    "FlowSteps": Case(lambda: flow_steps(), event=(4, 4, 3), smooth=False),
    "FlowSteps one by one": Case(
        lambda: FlowSteps(flow_step(ChannelPermutation.random(4))), event=(4, 3, 2), smooth=False
    ),
    "FlowSteps additive": Case(
        lambda: flow_steps(AdditiveCoupling(channel_mask(4, flip=True), ConvNet(2, 2, 4, zero_init=False))),
        event=(4, 4, 3),
        smooth=False,
    ),
    "CouplingStack": Case(
        lambda: CouplingStack(AffineCoupling.mlp(5, (8,), flip=k % 2 == 0) for k in range(3)), event=(5,)
    ),
    "CouplingStack fused": Case(
        lambda: CouplingStack(
            (AffineCoupling(half_mask(4, flip=f), MLP(2, 4, (2,), activation="relu")) for f in (False, True, True)),
            fused=True,
        ),
        smooth=False,
    ),
    "CouplingStack interleaved": Case(
        lambda: CouplingStack(
            AffineCoupling([True, False, True, False, False], MLP(2, 6, (8,))),
            AdditiveCoupling([False, True, False, True, True], MLP(3, 2, (8,))),
        ),
        event=(5,),
    ),
    "CouplingStack channels": Case(
        lambda: CouplingStack(
            AffineCoupling(channel_mask(3), conv(1, 4)), AffineCoupling(channel_mask(3, flip=True), conv(2, 2))
        ),
        event=(3, 2, 2),
    ),
    "CouplingStack additive": Case(
        lambda: CouplingStack(AdditiveCoupling.mlp(4, (8,)), AdditiveCoupling.mlp(4, (8,), flip=True)),
        keeps_volume=True,
    ),
    "Inverse": Case(lambda: Inverse(LULinear(4))),
    "Compose": Case(
        lambda: Compose(
            Diagonal(4), AffineCoupling.mlp(4, (8,)), Permutation.reversal(4), LeakyReLU(0.5), MonotoneSpline(4, 3, 2.0)
        ),
        smooth=False,
    ),
    "Compose scalars": Case(lambda: Compose(LeakyReLU(0.5, event_ndim=0), Diagonal(4)), smooth=False),
}
