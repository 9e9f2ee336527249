"""What the flow doctor is made of: the walk to the leaves, Jacobians exact and estimated, log-scales."""

from __future__ import annotations

import math

import pytest
import torch
from constructors import CASES, Case, coupling
from torch import Tensor

from course_flows import Compose, Flow, Inverse, Transform
from course_flows.diagnostics import diagnose, walk
from course_flows.diagnostics.measures import log_scales, measure_jacobian
from course_flows.distributions import StandardNormal
from course_flows.transforms import (
    AffineCoupling,
    Diagonal,
    Flatten,
    LeakyReLU,
    LearnedTanh,
    MultiScale,
    ReversibleCompose,
    checkerboard_mask,
)

each = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@each
def test_the_walk_arrives_where_the_transform_arrives(case: Case):
    transform, x = case.transform(), case.points(3)
    for backwards in (False, True):
        start = transform(x)[0] if backwards else x
        visits = []
        stroll = walk(transform, start, name="t", backwards=backwards)
        try:
            while True:
                visits.append(next(stroll))
        except StopIteration as end:
            out = end.value
        expected, log_det = transform.inverse(start) if backwards else transform(start)
        torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
        torch.testing.assert_close(sum(v.log_det for v in visits), log_det, rtol=0, atol=1e-10)
        root = torch.nn.Module()
        root.t = transform
        assert all(isinstance(root.get_submodule(visit.name), Transform) for visit in visits)


def test_containers_are_walked_to_their_leaves():
    inner = Compose(Diagonal(4), LeakyReLU())
    flow = Flow(
        Compose(Flatten(Inverse(inner), (1, 2, 2)), MultiScale([ReversibleCompose(coupling(1, 2, 2))])),
        StandardNormal((1, 2, 2)),
    )
    found = diagnose(flow, torch.rand(50, 1, 2, 2))
    assert [(layer.name, layer.kind) for layer in found.layers] == [
        ("transform.transforms.0.transform.transform.transforms.1", "Inverse(LeakyReLU)"),
        ("transform.transforms.0.transform.transform.transforms.0", "Inverse(Diagonal)"),
        ("transform.transforms.1.levels.0.transforms.0", "AffineCoupling"),
    ]
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["Diagonal", "LULinear", "AffineCoupling", "AffineCoupling checkerboard", "Squeeze"])
def test_estimates_agree_with_the_exact_jacobian(name: str):
    """With as many Lanczos steps as values only the random directions are left, whose error is said: 0 if diagonal."""
    transform, x = CASES[name].transform(), CASES[name].points(1)
    exact, estimate = (measure_jacobian(transform, x, None, limit) for limit in (100, 0))
    assert exact.exact
    assert not estimate.exact
    assert exact.standard_error == 0
    assert abs(exact.log_det - estimate.log_det) <= 6 * estimate.standard_error + 1e-9
    assert estimate.condition == pytest.approx(exact.condition, rel=1e-6)
    assert exact.log_det == pytest.approx(transform(x)[1].item(), abs=1e-9)


@pytest.mark.parametrize("backwards", [False, True])
def test_log_scales_are_those_of_the_pixels_that_move(backwards: bool):
    mask = checkerboard_mask(2, 2)

    class Raw(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raw = torch.where(mask, 100.0, torch.tensor([[-0.5, 0.25], [0.25, -0.5]])).expand(len(x), 1, 2, 2)
            return torch.cat([raw, x], dim=1)

    layer: Transform = AffineCoupling(mask, Raw(), bound=LearnedTanh((1, 1, 1), initial=2.0))
    found = log_scales(Inverse(layer) if backwards else layer, torch.randn(3, 1, 2, 2), None)
    assert found.near_the_bound == 0
    assert found.low == found.high == pytest.approx(2 * math.tanh(0.25))
    assert log_scales(Diagonal(2), torch.randn(3, 2), None) is None
