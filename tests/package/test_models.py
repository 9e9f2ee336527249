"""The models of the papers: sizes, masks, exact inverses, densities that integrate to one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from course_flows import Flow
from course_flows.distributions import StandardLogistic, StandardNormal
from course_flows.models import PRESETS, build, nice, real_nvp
from course_flows.nets import MLP, ResidualConvNet
from course_flows.training.config import build_flow, make_config
from course_flows.transforms import (
    AdditiveCoupling,
    AffineCoupling,
    BatchNorm,
    Compose,
    Coupling,
    Flatten,
    MultiScale,
    ReversibleCompose,
    Squeeze,
)

SHAPES = {"mnist": (1, 28, 28), "digits": (1, 8, 8), "cifar10": (3, 32, 32), "two-moons": (2,)}
SMALL = {
    "nice-mnist": {"hidden": (16, 16)},
    "nice-digits": {"hidden": (16, 16)},
    "real-nvp-cifar10": {"channels": 4, "blocks": 1},
    "real-nvp-mnist": {"channels": 4, "blocks": 1},
    "real-nvp-digits": {"channels": 4, "blocks": 1},
    "glow-cifar10": {"channels": 4, "steps": 2},
    "glow-mnist": {"channels": 4, "steps": 2},
    "glow-digits": {"channels": 4, "steps": 2},
    "made-mnist": {"hidden": (16,)},
    "maf-mnist": {"hidden": (16,), "layers": 2},
    "real-nvp-flat-mnist": {"hidden": (16,), "couplings": 2},
    "real-nvp-2d": {"hidden": (16, 16), "couplings": 4},
}


def perturbed(flow: Flow, size: float = 0.2) -> Flow:
    flow = flow.double()
    with torch.no_grad():
        for p in flow.transform.parameters():
            p.add_(size * torch.randn_like(p))
    return flow.eval()


def parts(flow: Flow, kind: type[nn.Module]) -> list[nn.Module]:
    return [part for part in flow.modules() if type(part) is kind]


def count(flow: Flow) -> int:
    return sum(p.numel() for p in flow.parameters())


def test_every_preset_has_a_small_form_here():
    assert SMALL.keys() == PRESETS.keys()
    for preset in PRESETS.values():
        assert preset.data in SHAPES
        assert preset.source


@pytest.mark.parametrize("name", PRESETS)
def test_presets_encode_decode_and_start_finite(name):
    event_shape = SHAPES[PRESETS[name].data]
    flow = build(name, event_shape, **SMALL[name])
    assert flow.event_shape == event_shape
    x = torch.rand(4, *event_shape)
    assert torch.isfinite(flow.log_prob(x)).all()
    flow, x = perturbed(flow, 0.05), x.double()
    z = flow.encode(x)
    assert z.shape == x.shape
    torch.testing.assert_close(flow.decode(z), x, rtol=0, atol=1e-9)
    drawn, log_prob = flow.rsample_and_log_prob((3,))
    torch.testing.assert_close(flow.log_prob(drawn), log_prob, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", PRESETS)
def test_the_trainer_knows_every_option_of_a_preset(name):
    config = make_config({"preset": name})
    flow = build_flow(replace(config, options={**config.options, **SMALL[name]}), SHAPES[config.data])
    assert flow.event_shape == SHAPES[config.data]


@pytest.mark.parametrize("name", [name for name in PRESETS if "digits" in name])
def test_small_image_models_have_exact_determinants(name):
    shape = (1, 4, 4)
    flow = perturbed(build(name, shape, **SMALL[name]), 0.1)
    x = torch.rand(2, *shape, dtype=torch.float64)
    _, log_det = flow.transform(x)
    for point, found in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.transform(v)[0], point).reshape(16, 16)
        assert found.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-8)


def test_flat_real_nvp_is_the_one_for_vectors_after_a_logit():
    torch.manual_seed(0)
    flow = perturbed(build("real-nvp-flat", (1, 2, 3), couplings=2, hidden=(8,), batch_norm=False, alpha=0.1))
    logit, couplings = flow.transform.transform
    x = torch.rand(5, 1, 2, 3, dtype=torch.float64)
    y, log_det = logit(x.flatten(1))
    expected = Flow(couplings, StandardNormal(6).double()).log_prob(y) + log_det
    torch.testing.assert_close(flow.log_prob(x), expected)


def mlp_parameters(sizes: list[int]) -> int:
    return sum(a * b + b for a, b in pairwise(sizes))


def test_nice_mnist_has_the_size_of_the_paper():
    """Four couplings, each five hidden layers of 1000 units from 392 pixels to 392; one scale a pixel."""
    flow = build("nice-mnist", (1, 28, 28))
    assert count(flow) == 4 * mlp_parameters([392, *[1000] * 5, 392]) + 784 == 19_158_352
    assert isinstance(flow.base, StandardLogistic)
    couplings = parts(flow, AdditiveCoupling)
    masks = [coupling.partition.mask for coupling in couplings]
    assert [mask[:4].tolist() for mask in masks] == [[True, False] * 2, [False, True] * 2] * 2
    assert Counter(type(layer).__name__ for layer in couplings[0].net.layers) == {"Linear": 6, "ReLU": 5}


def conv_net_parameters(image: int, out: int, channels: int, blocks: int) -> int:
    """3 × 3 in, blocks of two 3 × 3, 1 × 1 skips; a weight-normalized layer has one length an output more."""

    def conv(a: int, b: int, size: int, bias: bool = True) -> int:
        return a * b * size * size + b + (b if bias else 0)

    norm = 2 * channels
    block = norm + conv(channels, channels, 3, bias=False) + norm + conv(channels, channels, 3)
    skips = (blocks + 1) * conv(channels, channels, 1)
    return conv(image, channels, 3) + blocks * block + skips + norm + channels * out + out


def test_real_nvp_cifar10_has_the_size_of_the_paper():
    """3 checkerboards on 3 × 32 × 32 with 64 channels; squeeze; 3 channel masks on 12 × 16 × 16 and, after half is
    factored out, 4 checkerboards on 6 × 16 × 16 with 128 channels; 8 residual blocks each."""
    flow = build("real-nvp-cifar10", (3, 32, 32))
    nets = 3 * conv_net_parameters(3, 6, 64, 8) + 3 * conv_net_parameters(6, 12, 128, 8)
    nets += 4 * conv_net_parameters(6, 12, 128, 8)
    scales = 3 * 3 + 3 * 6 + 4 * 6
    norms = 2 * (3 * 3 + 3 * 12 + 4 * 6)
    assert count(flow) == nets + scales + norms
    assert [len(net.blocks) for net in parts(flow, ResidualConvNet)] == [8] * 10
    masks = [tuple(coupling.partition.mask.shape) for coupling in parts(flow, AffineCoupling)]
    assert masks == [(1, 32, 32)] * 3 + [(12, 1, 1)] * 3 + [(1, 16, 16)] * 4
    assert len(parts(flow, Squeeze)) == 1
    assert len(parts(flow, BatchNorm)) == 10


def test_neighboring_couplings_keep_different_parts():
    for flow in (real_nvp(5), nice(6), real_nvp((1, 8, 8), scales=3, channels=4, blocks=1)):
        stacks = [part for part in flow.modules() if isinstance(part, Compose)]
        pairs = 0
        for stack in stacks:
            masks = [part.partition.mask for part in stack if isinstance(part, Coupling)]
            for a, b in pairwise(masks):
                if a.shape == b.shape:
                    assert torch.equal(a, ~b)
                    pairs += 1
        assert pairs >= 3


def midpoints(half: float, number: int) -> torch.Tensor:
    line = 2 * half * ((torch.arange(number, dtype=torch.float64) + 0.5) / number - 0.5)
    return torch.cartesian_prod(line, line)


@torch.no_grad()
@pytest.mark.parametrize(
    "make",
    [
        lambda: real_nvp(2, couplings=4, hidden=(16,), activation="tanh"),
        lambda: real_nvp(2, couplings=3, hidden=(16,), activation="tanh", batch_norm=True),
        lambda: nice(2, couplings=4, hidden=(16,), activation="tanh"),
        lambda: nice(2, couplings=3, hidden=(16,), activation="tanh", base="normal", mask="half"),
    ],
    ids=["real_nvp", "real_nvp with batch norm", "nice", "nice normal"],
)
def test_densities_of_the_plane_integrate_to_one(make):
    flow, half, number = perturbed(make()), 30.0, 600
    mass = flow.log_prob(midpoints(half, number)).exp().sum().item() * (2 * half / number) ** 2
    assert mass == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("mask", ["alternating", "half"])
def test_three_couplings_of_nice_let_every_output_see_every_input(mask):
    """Two do not: a moved value sees the kept ones and itself, and what it saw moves on one layer at a time."""
    x = torch.randn(5, dtype=torch.float64)
    for couplings, everything in ((2, False), (3, True), (4, True)):
        flow = perturbed(nice(5, couplings=couplings, hidden=(16,), activation="tanh", mask=mask), 0.5)
        jacobian = torch.func.jacrev(lambda v, f=flow: f.transform(v)[0])(x)
        assert bool((jacobian.abs() > 1e-9).all()) == everything


def test_nice_keeps_volume_but_for_its_scaling():
    flow = perturbed(nice((1, 4, 4), hidden=(8,)))
    _, log_det = flow.transform(torch.rand(6, 1, 4, 4, dtype=torch.float64))
    scaling = flow.transform.transform[1]
    assert isinstance(flow.transform, Flatten)
    torch.testing.assert_close(log_det, scaling.log_scale.sum().expand(6), rtol=0, atol=1e-12)
    assert scaling.shift is None or not isinstance(scaling.shift, nn.Parameter)


def test_models_start_as_the_identity_unless_told_otherwise():
    x = torch.rand(4, 6)
    for make in (nice, real_nvp):
        assert torch.equal(make(6).encode(x), x)
        assert not torch.allclose(make(6, zero_init=False).encode(x), x)
    image = real_nvp((1, 4, 4), channels=4, blocks=1)
    y = torch.rand(2, 1, 4, 4)
    expected = torch.logit(0.05 + 0.9 * y)
    torch.testing.assert_close(image.encode(y), expected, rtol=0, atol=1e-5)
    assert isinstance(image.base, StandardNormal)


@pytest.mark.parametrize("reversible", [False, True])
def test_reversible_models_say_the_same(reversible):
    for flow in (
        real_nvp(4, reversible=reversible),
        nice(4, hidden=(8,), reversible=reversible),
        real_nvp((1, 4, 4), channels=4, blocks=1, reversible=reversible),
    ):
        assert any(type(part) is ReversibleCompose for part in flow.modules()) == reversible
        flow.log_prob(torch.rand(3, *flow.event_shape)).sum().backward()
        assert all(p.grad is not None for p in flow.parameters())


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: build("glov", 2),
            ValueError,
            r"preset \(nice-mnist, .*real-nvp-2d\) or a model \(nice, .*, iaf\)",
        ),
        (lambda: nice(4, base="cauchy"), ValueError, "found 'cauchy', 'alternating'"),
        (lambda: nice(4, mask="odd"), ValueError, "found 'logistic', 'odd'"),
        (lambda: nice(4, activation="gelu"), ValueError, "expected an activation of silu"),
        (lambda: nice(1), ValueError, "nice expects points of at least 2 values, found 1"),
        (lambda: nice(()), ValueError, "nice expects points of at least 2 values, found 1"),
        (lambda: real_nvp(1), ValueError, "real_nvp expects points of at least 2 values, found 1"),
        (lambda: real_nvp((8, 8)), ValueError, r"real_nvp expects D or \(C, H, W\), found \(8, 8\)"),
        (lambda: real_nvp((1, 7, 8)), ValueError, "divisible by 2, found 7 x 8"),
        (lambda: real_nvp((1, 8, 8), scales=0), ValueError, "real_nvp with 0 scales"),
        (lambda: real_nvp(4, batch_norm=True, reversible=True), ValueError, "found both"),
        (lambda: real_nvp((1, 8, 8), batch_norm=True, reversible=True), ValueError, "found both"),
        (lambda: real_nvp(4, blocks=3), TypeError, "blocks"),
    ],
)
def test_wrong_options_are_said_in_a_sentence(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_options_of_the_caller_win_over_those_of_the_preset():
    assert len(parts(build("nice-digits", (1, 8, 8), couplings=2), AdditiveCoupling)) == 2
    assert len(parts(build("nice", 4, couplings=3, hidden=(4,)), AdditiveCoupling)) == 3
    assert isinstance(build("real-nvp", (1, 4, 4), channels=4, blocks=1).transform[1], MultiScale)


def test_networks_keep_batch_dimensions():
    net = ResidualConvNet(2, 3, channels=4, blocks=0, zero_init=False)
    for batch in ((), (5,), (2, 3), (0,)):
        assert net(torch.zeros(*batch, 2, 4, 6)).shape == (*batch, 3, 4, 6)
        assert MLP(2, 3)(torch.zeros(*batch, 2)).shape == (*batch, 3)


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_a_network_leaves_its_input_as_it_was(activation):
    """A ReLU may write over what it gets, but never over what somebody still needs."""
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    for batch_norm in (False, True):
        net = ResidualConvNet(2, 3, 4, 2, batch_norm, zero_init=False, activation=activation).double()
        before = x.detach().clone()
        net(x).square().sum().backward()
        assert torch.equal(x, before)
        assert all(p.grad is not None for p in net.parameters())
    smooth = ResidualConvNet(2, 3, 4, 2, zero_init=False, activation="elu").double()
    h = smooth.enter(x)
    out = smooth.skips[0](h)
    for block, skip in zip(smooth.blocks, smooth.skips[1:], strict=True):
        h = h + block(h)
        out = out + skip(h)
    torch.testing.assert_close(smooth(x), smooth.leave(out), rtol=0, atol=1e-12)
    assert math.prod(smooth(x).shape) == 3 * 3 * 16
