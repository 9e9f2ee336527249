"""Densities, latents and inverses of other libraries with the same weights, in float64: equal up to rounding.

The libraries are not among the course's requirements. Where they are absent these tests are skipped and counted:
``pip install --no-deps --target _build/peers -r tests/benchmarks/requirements.txt``, then
``PYTHONPATH=_build/peers python -m pytest tests/benchmarks``.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from course_flows import Compose, Flow
from course_flows.conv_nets import ConvNet
from course_flows.distributions import StandardNormal
from course_flows.made import MADE
from course_flows.models.flow_steps import FlowSteps
from course_flows.nets import MLP, ResidualConvNet
from course_flows.transforms import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    BatchNorm,
    Conv1x1,
    FlowStep,
    LULinear,
    MaskedAutoregressive,
    MonotoneSpline,
    MultiScale,
    Permutation,
    Squeeze,
    Transform,
    alternating_mask,
    channel_mask,
    half_mask,
)

TOLERANCE = 1e-10
DEPTH, FEATURES = 6, 6


def peer(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name.partition('.')[0]} is not installed; see tests/benchmarks/requirements.txt")


@pytest.fixture(autouse=True)
def _float64():
    """Peers make tensors in torch's default dtype."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(before)


def perturbed(module: nn.Module, size: float = 0.1) -> nn.Module:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))
    return module.eval()


class NflowsScale(nn.Module):
    """The scale of nflows, sigmoid(r + 2) + 0.001, as a log-scale."""

    def forward(self, raw: Tensor) -> Tensor:
        return (torch.sigmoid(raw + 2) + 1e-3).log()


class ZukoScale(nn.Module):
    """The log-scale of zuko, which stays above log 0.001 and below its negative."""

    def forward(self, raw: Tensor) -> Tensor:
        return raw / (1 + (raw / math.log(1e-3)).abs())


class ShiftFirst(nn.Module):
    """The same network with its outputs as nflows wants them: shifts, then scales."""

    def __init__(self, net: nn.Module, dim: int = -1) -> None:
        super().__init__()
        self.net, self.dim = net, dim

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        out = self.net(x) if context is None else self.net(x, context)
        scale, shift = out.chunk(2, dim=self.dim)
        return torch.cat([shift, scale], dim=self.dim)


def mlp(kept: int, out: int, context: int = 0) -> MLP:
    return MLP(kept, out, (32, 32), context_features=context)


def assert_equal_flows(
    ours: Flow,
    log_prob: Callable[[Tensor], Tensor],
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    x: Tensor,
    context: Tensor | None = None,
) -> None:
    with torch.no_grad():
        found, expected = ours.log_prob(x, context), log_prob(x)
        assert expected.std() > 0.1
        errors = {
            "log_prob": (found - expected).abs().max().item(),
            "latent": (ours.encode(x, context) - encode(x)).abs().max().item(),
            "inverse": (ours.decode(encode(x), context) - decode(encode(x))).abs().max().item(),
        }
    assert max(errors.values()) < TOLERANCE, errors


def nflows_flow(transform: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    return peer("nflows.flows").Flow(transform, peer("nflows.distributions").StandardNormal(shape)).eval()


def nflows_coupling(ours: AffineCoupling | AdditiveCoupling, net: nn.Module) -> nn.Module:
    transforms = peer("nflows.transforms")
    affine = isinstance(ours, AffineCoupling)
    kind = transforms.AffineCouplingTransform if affine else transforms.AdditiveCouplingTransform
    moved = (~ours.partition.mask).flatten().int()
    return kind(moved, lambda a, b: net)


@pytest.mark.parametrize("context", [False, True], ids=["", "with context"])
def test_real_nvp_of_nflows(context: bool):
    layers: list[Transform] = []
    theirs: list[nn.Module] = []
    for k in range(DEPTH):
        mask = (half_mask if k % 2 else alternating_mask)(FEATURES, flip=k % 4 > 1)
        net = mlp(FEATURES // 2, FEATURES, 2 if context else 0)
        permutation = Permutation.random(FEATURES, seed=k)
        layers += [AffineCoupling(mask, net, bound=NflowsScale()), permutation]
        theirs += [
            nflows_coupling(layers[-2], ShiftFirst(net)),
            peer("nflows.transforms").Permutation(permutation.order),
        ]
    ours = Flow(Compose(layers), StandardNormal(FEATURES)).double()
    perturbed(ours)
    composite = peer("nflows.transforms").CompositeTransform(theirs)
    other, x = nflows_flow(composite, (FEATURES,)), torch.randn(500, FEATURES)
    c = torch.randn(500, 2) if context else None
    assert_equal_flows(
        ours,
        lambda v: other.log_prob(v, c),
        lambda v: composite(v, c)[0],
        lambda v: composite.inverse(v, c)[0],
        x,
        c,
    )


def test_linear_layers_batch_norms_and_splines_of_nflows():
    transforms = peer("nflows.transforms")
    spline_module = peer("nflows.transforms.nonlinearities")
    ours = Flow(
        Compose(BatchNorm(FEATURES), LULinear(FEATURES), MonotoneSpline(FEATURES, 8, 3.0), LULinear(FEATURES, seed=1)),
        StandardNormal(FEATURES),
    ).double()
    norm, first, spline, second = ours.transform
    norm.train()(2 + 3 * torch.randn(100, FEATURES))
    perturbed(ours)
    their_norm = transforms.BatchNorm(FEATURES, eps=norm.eps)
    their_spline = spline_module.PiecewiseRationalQuadraticCDF(FEATURES, 8, tails="linear", tail_bound=3.0)
    with torch.no_grad():
        scale = norm.log_scale.exp() - norm.eps
        their_norm.unconstrained_weight.copy_(scale.expm1().log())
        their_norm.bias.copy_(norm.shift)
        their_norm.running_mean.copy_(norm.running_mean)
        their_norm.running_var.copy_(norm.running_variance)
        their_spline.unnormalized_widths.copy_(spline.widths)
        their_spline.unnormalized_heights.copy_(spline.heights)
        their_spline.unnormalized_derivatives.copy_(spline.slopes)

    def linear(layer: LULinear) -> nn.Module:
        their = transforms.NaiveLinear(FEATURES, orthogonal_initialization=False)
        with torch.no_grad():
            their._weight.copy_(layer.weight())
            their.bias.copy_(layer.bias)
        return their

    composite = transforms.CompositeTransform([their_norm, linear(first), their_spline, linear(second)]).eval()
    other = nflows_flow(composite, (FEATURES,))
    x = 2 + 3 * torch.randn(500, FEATURES)
    assert_equal_flows(
        ours, other.log_prob, lambda v: composite(v)[0], lambda z: x, x
    )  # its inverse needs an old torch


@pytest.mark.parametrize("kind", [AffineCoupling, AdditiveCoupling])
def test_multi_scale_images_of_nflows(kind: type):
    """Two levels of squeeze and couplings of channels. nflows factors out the first half of the channels."""
    transforms = peer("nflows.transforms")
    per_value = kind.parameters_per_value

    def couplings(channels: int) -> tuple[list[Transform], list[nn.Module]]:
        ours: list[Transform] = []
        theirs: list[nn.Module] = []
        for k in range(3):
            net = ResidualConvNet(channels // 2, per_value * channels // 2, 8, 1, activation="elu")
            mask = channel_mask(channels, flip=bool(k % 2))
            layer = kind(mask, net, bound=NflowsScale()) if kind is AffineCoupling else kind(mask, net)
            ours.append(layer)
            theirs.append(nflows_coupling(layer, ShiftFirst(net, dim=1) if per_value == 2 else net))
        return ours, theirs

    first, second = couplings(4), couplings(2)
    ours = Flow(MultiScale([Compose(Squeeze(), *first[0]), Compose(second[0])]), StandardNormal((1, 6, 4))).double()
    perturbed(ours)
    swap = transforms.Permutation(torch.tensor([2, 3, 0, 1]))
    other = transforms.MultiscaleCompositeTransform(2)
    other.add_transform(transforms.CompositeTransform([transforms.SqueezeTransform(), *first[1], swap]), (4, 3, 2))
    other.add_transform(transforms.CompositeTransform(second[1]), (2, 3, 2))
    other.eval()
    flow = nflows_flow(other, (24,))

    def in_levels(z: Tensor) -> Tensor:
        return torch.cat([part.flatten(1) for part in ours.transform.split(z)], dim=1)

    def joined(z: Tensor) -> Tensor:
        parts = z.split(12, dim=1)
        return ours.transform.join([part.reshape(-1, 2, 3, 2) for part in parts])

    x = torch.randn(50, 1, 6, 4)
    with torch.no_grad():
        torch.testing.assert_close(in_levels(ours.encode(x)), other(x)[0], rtol=0, atol=TOLERANCE)
    assert_equal_flows(ours, flow.log_prob, lambda v: joined(other(v)[0]), lambda z: other.inverse(in_levels(z))[0], x)


@pytest.mark.filterwarnings("ignore:torch.triangular_solve is deprecated")  # which nflows still calls
def test_glow_of_nflows():
    """Steps of ActNorm, 1 x 1 convolution and coupling at two levels, whose matrices are those of nflows."""
    transforms = peer("nflows.transforms")

    def steps(channels: int) -> tuple[FlowSteps, list[nn.Module]]:
        ours: list[FlowStep] = []
        theirs: list[nn.Module] = []
        for _ in range(3):
            norm, conv = transforms.ActNorm(channels), perturbed(transforms.OneByOneConvolution(channels))
            net = ConvNet(channels // 2, channels, 8, normalize=False, zero_init=False)
            coupling = AffineCoupling(channel_mask(channels), net, bound=NflowsScale())
            torch.nn.init.zeros_(conv.bias)  # ours has none beside that of the normalization
            matrix = torch.zeros(channels, channels)
            for column, image in enumerate(torch.eye(channels)):
                matrix[:, column] = conv(image[None, :, None, None])[0].flatten().detach()
            step = FlowStep(ActNorm(channels, event_ndim=3), Conv1x1(channels), coupling)
            step.mixing.linear = LULinear.from_matrix(matrix)
            step.mixing.linear.bias = None
            ours.append(step)
            theirs += [norm, conv, nflows_coupling(coupling, ShiftFirst(net, dim=1))]
        return FlowSteps(ours), theirs

    first, second = steps(4), steps(2)
    ours = Flow(MultiScale([Compose(Squeeze(), first[0]), second[0]]), StandardNormal((1, 6, 4))).double()
    for flow_steps, theirs in (first, second):
        perturbed(nn.ModuleList(step.norm for step in flow_steps), 0.3)
        for step, their_norm in zip(flow_steps, theirs[::3]):
            perturbed(step.coupling)
            with torch.no_grad():
                their_norm.log_scale.copy_(step.norm.log_scale)
                their_norm.shift.copy_(step.norm.shift)
                their_norm.initialized.fill_(True)
    swap = transforms.Permutation(torch.tensor([2, 3, 0, 1]))
    other = transforms.MultiscaleCompositeTransform(2)
    other.add_transform(transforms.CompositeTransform([transforms.SqueezeTransform(), *first[1], swap]), (4, 3, 2))
    other.add_transform(transforms.CompositeTransform(second[1]), (2, 3, 2))
    flow = nflows_flow(other.eval(), (24,))
    ours.eval()

    def in_levels(z: Tensor) -> Tensor:
        return torch.cat([part.flatten(1) for part in ours.transform.split(z)], dim=1)

    def encode(x: Tensor) -> Tensor:
        parts = other(x)[0].split(12, dim=1)
        return ours.transform.join([part.reshape(-1, 2, 3, 2) for part in parts])

    x = torch.randn(50, 1, 6, 4)
    assert_equal_flows(ours, flow.log_prob, encode, lambda z: other.inverse(in_levels(z))[0], x)


def test_real_nvp_of_zuko():
    zuko = peer("zuko.transforms")
    couplings = [
        AffineCoupling(half_mask(FEATURES, flip=bool(k % 2)), mlp(FEATURES // 2, FEATURES), bound=ZukoScale())
        for k in range(DEPTH)
    ]
    ours = Flow(Compose(couplings), StandardNormal(FEATURES)).double()
    perturbed(ours)

    def coupling(layer: AffineCoupling) -> object:
        def moved_by(kept: Tensor) -> object:
            scale, shift = layer.net(kept).chunk(2, dim=-1)
            return zuko.DependentTransform(zuko.MonotonicAffineTransform(shift, scale), 1)

        return zuko.CouplingTransform(moved_by, layer.partition.mask)

    chain = zuko.ComposedTransform(*map(coupling, couplings))
    base = peer("zuko.distributions").DiagNormal(torch.zeros(FEATURES), torch.ones(FEATURES))
    other = peer("zuko.distributions").NormalizingFlow(chain, base)
    assert_equal_flows(ours, other.log_prob, chain, chain.inv, torch.randn(500, FEATURES))


@pytest.mark.parametrize("hidden", [(32,), (32, 32), (40, 20, 30)])
def test_maf_of_zuko(hidden: tuple[int, ...]):
    """Ours gets zuko's weights, its hidden units sorted by degree; zuko has shift and scale of each value in turn."""
    zuko = peer("zuko.transforms")
    ours: list[Transform] = []
    theirs: list[nn.Module] = []
    for k in range(DEPTH):
        order = torch.arange(FEATURES).flip(0) if k % 2 else torch.arange(FEATURES)
        theirs.append(
            peer("zuko.flows").MaskedAutoregressiveTransform(
                FEATURES,
                order=order.argsort(),
                hidden_features=hidden,
                univariate=lambda shift, scale: zuko.MonotonicAffineTransform(shift, scale).inv,
            )
        )
        net = MADE(FEATURES, 2, hidden, order)
        *layers, last = [layer for layer in perturbed(theirs[-1]).hyper if hasattr(layer, "mask")]
        before, degrees, state, masks = torch.arange(FEATURES), net.degrees[0], {}, []
        for n, layer in enumerate(layers):
            degrees = (layer.mask * degrees).amax(dim=1)
            sorted_units = degrees.argsort(stable=True)
            state[f"layers.{n}.weight"] = layer.weight[sorted_units][:, before]
            state[f"layers.{n}.bias"] = layer.bias[sorted_units]
            state[f"degrees_{n + 1}"] = degrees[sorted_units]
            masks.append(layer.mask[sorted_units][:, before])
            before = sorted_units
        scale_first = torch.arange(2 * FEATURES).reshape(FEATURES, 2).flip(1).T.flatten()
        state |= {"last.weight": last.weight[scale_first][:, before], "last.bias": last.bias[scale_first]}
        net.load_state_dict({"degrees_0": net.degrees[0], **state})
        for stage, mask in zip(net.stages(), [*masks, last.mask[scale_first][:, before]], strict=True):
            assert torch.equal(stage.layer.mask, mask)
        ours.append(MaskedAutoregressive(net, ZukoScale()))
    chain = zuko.ComposedTransform(*(layer() for layer in theirs))
    base = peer("zuko.distributions").DiagNormal(torch.zeros(FEATURES), torch.ones(FEATURES))
    other = peer("zuko.distributions").NormalizingFlow(chain, base)
    flow = Flow(Compose(ours), StandardNormal(FEATURES)).double()
    assert_equal_flows(flow, other.log_prob, chain, chain.inv, torch.randn(500, FEATURES))
