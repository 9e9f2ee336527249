"""The flow doctor names each planted illness and its layer, finds nothing in a healthy flow, and changes nothing."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from constructors import batch_norm, conv, coupling, level
from torch import Tensor

from course_flows import Compose, Flow, Inverse, Transform
from course_flows.diagnostics import Diagnosis, diagnose
from course_flows.distributions import StandardNormal
from course_flows.models import nice, real_nvp
from course_flows.nets import MLP
from course_flows.transforms import (
    AffineCoupling,
    DenseLinear,
    Diagonal,
    Logit,
    LULinear,
    MultiScale,
    channel_mask,
    half_mask,
)


def perturb(flow: Flow, size: float = 0.2) -> Flow:
    torch.manual_seed(3)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(size * torch.randn_like(p))
    return flow


def plane(*middle: Transform) -> Flow:
    """A healthy flow of four values with layers in the middle: places 2 and on."""
    torch.manual_seed(0)
    before = [AffineCoupling.mlp(4, (8,)), LULinear(4)]
    after = [AffineCoupling.mlp(4, (8,), flip=True)]
    return perturb(Flow(Compose([*before, *middle, *after]), StandardNormal(4)))


def picture() -> Flow:
    multi = MultiScale(
        [level(1, 4), coupling(2, 2, 2)], priors=[AffineCoupling(channel_mask(4), conv(2, 4), bound=3.0)]
    )
    return perturb(Flow(Compose(Logit(0.05, event_ndim=3), multi), StandardNormal((1, 4, 4))), 0.1)


def points(flow: Flow, count: int = 50) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    dtype = next(flow.parameters()).dtype
    return torch.rand(count, *flow.event_shape, generator=generator, dtype=dtype)


def only_warning(flow: Flow, name: str) -> str:
    """The one sentence that the doctor has to say, which must be about the layer of that name."""
    found = diagnose(flow, points(flow))
    assert len(found.warnings) == 1, found.warnings
    assert found.warnings[0].startswith(f"{name} (")
    assert [layer.name for layer in found.layers if layer.warnings] in ([name], [])
    return found.warnings[0]


HEALTHY = {
    "vectors": plane,
    "float64": lambda: plane().double(),
    "image": picture,
    "real_nvp": lambda: perturb(real_nvp((1, 4, 4), channels=4, blocks=1, scales=2), 0.05),
    "nice": lambda: perturb(nice((1, 4, 4), hidden=(8,)), 0.05),
    "untrained": lambda: real_nvp(6),
    "reversible": lambda: perturb(real_nvp(6, couplings=3, reversible=True), 0.05),
    "batch norm": lambda: Flow(Compose(batch_norm(4), Inverse(LULinear(4))), StandardNormal(4)),
}


@pytest.mark.parametrize("build", HEALTHY.values(), ids=HEALTHY.keys())
def test_a_healthy_flow_has_no_warning(build):
    flow = build()
    found = diagnose(flow, points(flow))
    assert found.warnings == ()
    eps = torch.finfo(points(flow).dtype).eps
    for layer in found.layers:
        assert flow.get_submodule(layer.name) is not None
        assert layer.finite
        assert layer.reconstruction < 1000 * eps
        assert layer.reconstruction_float64 < 1e-10
        assert layer.log_det_error < 1e-9
        assert layer.log_det_standard_error == 0
        assert layer.condition >= 0.999
    assert found.reconstruction < 1e4 * eps


def test_a_weight_that_is_not_a_number_is_named_with_its_layer():
    flow = plane()
    with torch.no_grad():
        flow.transform[2].net.layers[0].weight[0, 0] = float("nan")
    sentence = only_warning(flow, "transform.transforms.2")
    assert "first layer that gives NaN or infinite numbers" in sentence
    assert "net.layers.0.weight holds NaN" in sentence
    assert len(diagnose(flow, points(flow)).layers) == 3
    assert diagnose(flow, points(flow)).reconstruction is None


def test_an_overflow_is_named_with_its_layer_in_a_multi_scale_model():
    flow = picture()
    prior = flow.transform[1].priors[0]
    prior.bound = torch.nn.Identity()
    with torch.no_grad():
        prior.net.leave[-1].bias.fill_(1e3)
    sentence = only_warning(flow, "transform.transforms.1.priors.0")
    assert "Its parameters are finite, so that a scale or a value overflowed" in sentence


@pytest.mark.parametrize("bound", ["fixed", "learned"])
def test_scales_at_their_bound_are_named(bound: str):
    if bound == "fixed":
        flow, name = plane(), "transform.transforms.0"
        with torch.no_grad():
            flow.get_submodule(name).net.layers[-1].bias[:2] = torch.tensor([100.0, -100.0])
    else:
        flow, name = (
            perturb(real_nvp((1, 4, 4), channels=4, blocks=1), 0.05),
            "transform.transforms.1.levels.0.transforms.1",
        )
        with torch.no_grad():
            flow.get_submodule(name).net.leave[-1].bias[0] = 30.0
    sentence = only_warning(flow, name)
    assert "has 100% of its log-scales within 5 % of their bound" in sentence


def test_large_scales_without_a_bound_are_named():
    flow = plane(AffineCoupling.mlp(4, (8,), bound=None))
    with torch.no_grad():
        flow.transform[2].net.layers[-1].bias[:2] = 7.5
    sentence = diagnose(flow, points(flow)).warnings[0]
    assert sentence.startswith("transform.transforms.2 (AffineCoupling) has log-scales from 7.")
    assert "and no bound: exp of them overflows soon" in sentence


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_linear_layer_near_singular_is_named(dtype: torch.dtype):
    flow = plane(DenseLinear(4))
    with torch.no_grad():
        tiny = 1e-5 if dtype == torch.float32 else 1e-11
        flow.transform[2].matrix.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, tiny])))
    flow = flow.to(dtype)
    sentence = [s for s in diagnose(flow, points(flow)).warnings if s.startswith("transform.transforms.2")]
    assert len(sentence) == 1
    assert "near singular, condition number 1.0e+" in sentence[0]


def test_a_condition_number_that_is_rounding_is_not_told_in_digits():
    flow = plane(DenseLinear(4))
    with torch.no_grad():
        flow.transform[2].matrix.copy_(torch.diag(torch.tensor([1.0, 1.0, 1.0, 1e-21])))
    sentence = [s for s in diagnose(flow, points(flow)).warnings if s.startswith("transform.transforms.2")]
    assert "near singular, condition number above 1e+15: " in sentence[0]


class HalfLogDet(Diagonal):
    """Forgets half of its log-determinant, in both directions."""

    def forward(self, x, context=None):
        z, log_det = super().forward(x, context)
        return z, 0.5 * log_det

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z, context)
        return x, 0.5 * log_det


class Rounding(Diagonal):
    """Cannot be undone: it drops all but two decimals."""

    def inverse(self, z, context=None):
        x, log_det = super().inverse(z, context)
        return (100 * x).round() / 100, log_det


class Stubborn(Diagonal):
    def inverse(self, z, context=None):
        raise RuntimeError("no way back")


class Picky(Diagonal):
    def forward(self, x, context=None):
        raise RuntimeError("only on Sundays")


def test_a_wrong_log_determinant_is_named():
    flow = plane(HalfLogDet(4))
    with torch.no_grad():
        flow.transform[2].log_scale.fill_(0.7)
    assert "says a log-determinant that is off by 1.4e+00" in only_warning(flow, "transform.transforms.2")


def test_a_wrong_log_determinant_of_a_large_layer_is_found_by_an_estimate_that_says_so():
    wrong = HalfLogDet(400)
    with torch.no_grad():
        wrong.log_scale.copy_(torch.linspace(0.0, 1.0, 400))
    flow = Flow(Compose(Diagonal(400), wrong), StandardNormal(400))
    found = diagnose(flow, points(flow))
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("transform.transforms.1 (HalfLogDet) says a log-determinant")
    assert "estimate from random directions (standard error" in found.warnings[0]
    assert "~" in found.table()


@pytest.mark.parametrize("kind", [Rounding, Stubborn])
def test_a_layer_that_is_not_undone_is_named(kind: type[Transform]):
    flow = plane(kind(4))
    sentences = diagnose(flow, points(flow)).warnings
    assert sentences[0].startswith("transform.transforms.2")
    assert "is not undone by its inverse" in sentences[0]
    assert ("inverse fails" in sentences[0]) == (kind is Stubborn)
    assert all(s.startswith("decode(encode(x)) ") for s in sentences[1:])


def test_a_layer_that_raises_an_error_is_named():
    flow = plane(Picky(4))
    found = diagnose(flow, points(flow))
    expected = "transform.transforms.2 (Picky) stopped with RuntimeError: only on Sundays. Nothing after it could"
    assert found.warnings[0].startswith(expected)
    assert len(found.layers) == 2


def test_a_layer_that_knows_one_dtype_only_is_still_examined_in_that():
    class OnlyFloat32(Diagonal):
        def forward(self, x, context=None):
            if x.dtype != torch.float32:
                raise TypeError("float32 or nothing")
            return super().forward(x, context)

    flow = plane(OnlyFloat32(4))
    sentence = only_warning(flow, "transform.transforms.2")
    assert "could not be checked in float64: transform.transforms.2 (OnlyFloat32) stopped with TypeError" in sentence
    layers = diagnose(flow, points(flow)).layers
    assert [layer.condition is None for layer in layers] == [False, False, True, True]
    assert all(layer.reconstruction < 1e-4 for layer in layers)


def test_values_that_run_away_are_named():
    flow = plane(Diagonal(4))
    with torch.no_grad():
        flow.transform[2].shift.fill_(3e4)
    found = diagnose(flow, points(flow))
    assert any(s.startswith("transform.transforms.2 (Diagonal) gives values from") for s in found.warnings)


def test_a_stack_whose_rounding_adds_up_is_said_of_the_whole():
    flow = perturb(real_nvp(2, couplings=12), 0.35)
    found = diagnose(flow, points(flow))
    assert found.reconstruction > 1e-3
    assert any(s.startswith("decode(encode(x)) is off by") for s in found.warnings)
    assert not any("is not undone" in s for s in found.warnings)


def snapshot(flow: Flow) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in (*flow.named_parameters(), *flow.named_buffers())}


def test_nothing_is_changed():
    flow = Flow(Compose(batch_norm(4), AffineCoupling.mlp(4, (8,)), LULinear(4)), StandardNormal(4))
    flow.train()
    flow.transform[1].eval()
    flow.transform[2].log_diagonal.requires_grad_(False)
    flow.log_prob(points(flow)).sum().backward()
    state, modes = snapshot(flow), [part.training for part in flow.modules()]
    gradients = [None if p.grad is None else p.grad.clone() for p in flow.parameters()]
    wanted = [p.requires_grad for p in flow.parameters()]
    random = torch.get_rng_state()
    x = points(flow).requires_grad_()
    diagnose(flow, x)
    assert x.grad is None
    assert torch.equal(torch.get_rng_state(), random)
    assert [part.training for part in flow.modules()] == modes
    assert [p.requires_grad for p in flow.parameters()] == wanted
    for name, tensor in snapshot(flow).items():
        assert torch.equal(tensor, state[name])
    for p, gradient in zip(flow.parameters(), gradients, strict=True):
        assert (p.grad is None and gradient is None) or torch.equal(p.grad, gradient)


def test_the_context_goes_to_every_layer():
    net = MLP(2, 4, (8,), context_features=3)
    flow = perturb(Flow(Compose(AffineCoupling(half_mask(4), net), LULinear(4)), StandardNormal(4)))
    context = torch.randn(50, 3)
    assert diagnose(flow, points(flow), context).warnings == ()
    assert "expects a context" in diagnose(flow, points(flow)).warnings[0]
    with pytest.raises(ValueError, match="a context of 50 rows"):
        diagnose(flow, points(flow), context[:4])


@pytest.mark.parametrize("bad", [torch.zeros(4), torch.zeros(0, 4), torch.zeros(2, 3, 4)], ids=lambda b: str(b.shape))
def test_points_must_be_a_batch(bad: Tensor):
    with pytest.raises(ValueError, match=r"shape \(N, \*event\) with N of at least 1"):
        diagnose(plane(), bad)
    with pytest.raises(ValueError, match="at least 1 point for Jacobians, found 0"):
        diagnose(plane(), torch.zeros(2, 4), jacobian_points=0)


def test_jacobians_can_be_left_out():
    flow = plane(HalfLogDet(4))
    found = diagnose(flow, points(flow), jacobians=False)
    assert all(layer.condition is None and layer.log_det_error is None for layer in found.layers)


def test_the_table_is_aligned_and_the_dictionary_is_json():
    flow = plane()
    with torch.no_grad():
        flow.transform[2].net.layers[0].weight[0, 0] = float("nan")
    found = diagnose(flow, points(flow))
    lines = found.table().splitlines()
    assert len(lines) == 1 + 3 + 1
    start = lines[0].index("kind")
    assert [line[start - 1] for line in lines[:-1]] == [" "] * 4
    assert [line[start:].split()[0] for line in lines[1:-1]] == ["AffineCoupling", "LULinear", "AffineCoupling"]
    assert lines[-1].startswith("whole flow, 50 points, float32")
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["layers"][0]["name"] == "transform.transforms.0"
    assert again["layers"][2]["finite"] is False
    assert again["warnings"] == list(found.warnings)
    assert str(found).endswith(found.warnings[-1])


def test_a_diagnosis_can_be_repeated():
    flow = plane()
    first: Diagnosis = diagnose(flow, points(flow))
    assert diagnose(copy.deepcopy(flow), points(flow)) == first
