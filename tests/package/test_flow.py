"""Flows as densities: they integrate to one, their samples match them, torch.distributions agrees."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.distributions import transforms as torch_transforms

from course_flows import Compose, Flow, Inverse
from course_flows.distributions import Base, FromTorch, StandardLogistic, StandardNormal, StandardUniform
from course_flows.transforms import (
    AffineCoupling,
    LeakyReLU,
    Logit,
    LULinear,
    MonotoneSpline,
    Permutation,
    TorchTransform,
)

BASES = {
    "normal": lambda: StandardNormal(2),
    "logistic": lambda: StandardLogistic(2),
    "Student": lambda: FromTorch(torch.distributions.StudentT(torch.full((2,), 9.0, dtype=torch.float64))),
}


def bent_flow(base: Base | None = None, seed: int = 0) -> Flow:
    torch.manual_seed(seed)
    transform = Compose(
        LULinear(2), AffineCoupling.mlp(2, (8,)), AffineCoupling.mlp(2, (8,), flip=True), MonotoneSpline(2, 6, 3.0)
    )
    flow = Flow(transform, base or StandardNormal(2)).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return flow


def midpoints(low: float, high: float, count: int) -> torch.Tensor:
    step = (high - low) / count
    line = low + step * (torch.arange(count, dtype=torch.float64) + 0.5)
    return torch.cartesian_prod(line, line)


@torch.no_grad()
@pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
def test_integrates_to_one(base):
    flow = bent_flow(base())
    half, count = 40.0, 1000
    mass = flow.log_prob(midpoints(-half, half, count)).exp().sum().item() * (2 * half / count) ** 2
    assert mass == pytest.approx(1.0, abs=2e-3)


@torch.no_grad()
def test_change_of_variables_against_a_multivariate_normal():
    flow = Flow(
        LULinear.from_matrix(torch.tensor([[2.0, 1.0], [-0.5, 3.0]]), torch.tensor([0.3, -1.0])).double(),
        StandardNormal(2),
    ).double()
    w, b = flow.transform.weight(), flow.transform.bias
    inverse = torch.linalg.inv(w)
    truth = MultivariateNormal(-inverse @ b, inverse @ inverse.mT)
    x = torch.randn(100, 2, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(x), truth.log_prob(x), rtol=0, atol=1e-12)


@torch.no_grad()
def test_samples_have_the_density():
    """Self-normalized means of exp(i w·x) under the samples and under the density on a grid agree."""
    flow = bent_flow()
    torch.manual_seed(1)
    x = flow.sample(40_000)
    grid = midpoints(-30.0, 30.0, 1200)
    weight = flow.log_prob(grid).exp() * (60.0 / 1200) ** 2
    for w in torch.randn(12, 2, dtype=torch.float64):
        for function in (torch.cos, torch.sin):
            values = function(x @ w)
            expected = (weight * function(grid @ w)).sum()
            assert abs(values.mean() - expected) < 5 * values.std() / math.sqrt(len(x)) + 1e-3


@torch.no_grad()
def test_sampled_log_prob_is_the_density_at_the_sample():
    flow = bent_flow()
    x, log_prob = flow.rsample_and_log_prob((7, 3))
    assert x.shape == (7, 3, 2)
    torch.testing.assert_close(log_prob, flow.log_prob(x), rtol=0, atol=1e-9)


@torch.no_grad()
def test_encode_and_decode_undo_each_other():
    flow = bent_flow()
    x = torch.randn(50, 2, dtype=torch.float64)
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("shape", "expected"), [((), (2,)), (5, (5, 2)), ((5,), (5, 2)), ((3, 4), (3, 4, 2))])
def test_sample_shapes(shape, expected):
    assert bent_flow().sample(shape).shape == expected


def test_rsample_carries_gradients_and_sample_does_not():
    flow = bent_flow()
    assert not flow.sample(3).requires_grad
    flow.rsample(200).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in flow.parameters())


def test_images_and_elementwise_transforms():
    flow = Flow(Inverse(Logit(0.0, event_ndim=3)), StandardUniform((1, 4, 4))).double()
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(flow.log_prob(x), StandardLogistic((1, 4, 4)).log_prob(x), rtol=0, atol=1e-12)
    scalar = Flow(LeakyReLU(0.5, event_ndim=0), StandardNormal((1, 4, 4))).double()
    assert scalar.log_prob(x).shape == (5,)


def test_as_a_torch_distribution():
    flow = bent_flow()
    distribution = flow.as_distribution()
    assert isinstance(distribution, torch.distributions.Distribution)
    assert distribution.event_shape == (2,)
    assert distribution.batch_shape == ()
    x = distribution.sample((6,))
    assert x.shape == (6, 2)
    assert torch.equal(distribution.log_prob(x), flow.log_prob(x))
    assert distribution.rsample((4,)).requires_grad
    shifted = torch.distributions.TransformedDistribution(distribution, [torch_transforms.AffineTransform(1.0, 2.0)])
    expected = flow.log_prob((x - 1.0) / 2.0) - 2 * math.log(2.0)
    torch.testing.assert_close(shifted.log_prob(x), expected, rtol=0, atol=1e-12)


def test_torch_transforms_agree_with_torch():
    chain = [torch_transforms.SigmoidTransform(), torch_transforms.AffineTransform(-1.0, 3.0)]
    base = torch.distributions.Normal(torch.zeros(2, dtype=torch.float64), 1.0)
    truth = torch.distributions.TransformedDistribution(torch.distributions.Independent(base, 1), chain)
    flow = Flow(Inverse(Compose(TorchTransform(t) for t in chain)), StandardNormal(2)).double()
    x = truth.sample((20,))
    torch.testing.assert_close(flow.log_prob(x), truth.log_prob(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.zeros(5, 3), r"shape \(\*batch, 2\), found \(5, 3\)"),
        (torch.zeros(5, 2), "expects torch.float64 like the flow's parameters, found torch.float32"),
        (torch.zeros(()), r"shape \(\*batch, 2\), found \(\)"),
        (torch.zeros(5, 2, dtype=torch.long), "floating-point numbers, found torch.int64"),
        (torch.tensor([[0.0, float("nan")]], dtype=torch.float64), "found 1 NaN or infinite ones in 2"),
        (torch.tensor([[float("inf"), 0.0]], dtype=torch.float64), "finite numbers"),
    ],
)
def test_bad_input_is_said_in_a_sentence(bad, words):
    with pytest.raises(ValueError, match=words):
        bent_flow().log_prob(bad)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3-dimensional points"):
        Flow(LeakyReLU(event_ndim=3), StandardNormal(2))
    with pytest.raises(TypeError, match="expects a Transform, found Linear"):
        Flow(torch.nn.Linear(2, 2), StandardNormal(2))
    with pytest.raises(TypeError, match="Base, found Normal"):
        Flow(Permutation([0, 1]), torch.distributions.Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="one kind of event"):
        Compose(LULinear(4), LeakyReLU(event_ndim=3))
    with pytest.raises(TypeError, match="Compose expects Transforms"):
        Compose(torch.nn.ReLU())
    with pytest.raises(ValueError, match="bijective"):
        TorchTransform(torch_transforms.AbsTransform())
    with pytest.raises(ValueError, match="positive slope"):
        LeakyReLU(0.0)
    with pytest.raises(ValueError, match="bool mask"):
        AffineCoupling([True, True], torch.nn.Linear(2, 2))


@pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
def test_base_samples_and_density_agree(base):
    base = base().double()
    torch.manual_seed(0)
    z = base.rsample((20_000,))
    assert z.shape == (20_000, 2)
    assert z.dtype == torch.float64
    grid = midpoints(-60.0, 60.0, 2401)
    weight = base.log_prob(grid).exp() * (120.0 / 2401) ** 2
    assert weight.sum().item() == pytest.approx(1.0, abs=2e-2)
    assert z.square().mean().item() == pytest.approx((weight @ grid.square()).mean().item(), rel=0.05)


def test_uniform_base_is_flat_on_the_cube():
    base = StandardUniform(2).double()
    z = base.rsample((20_000,))
    assert torch.equal(base.log_prob(z), torch.zeros(20_000, dtype=torch.float64))
    assert torch.isneginf(base.log_prob(torch.tensor([[0.5, 1.1], [-0.1, 0.5]]))).all()
    assert z.mean(dim=0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)
    assert z.var(dim=0).tolist() == pytest.approx([1 / 12, 1 / 12], abs=0.003)


def test_compiles_without_graph_breaks():
    flow = bent_flow()
    x = torch.randn(8, 2, dtype=torch.float64)
    explained = torch.compile(flow.log_prob, fullgraph=True, backend="eager")
    torch.testing.assert_close(explained(x), flow.log_prob(x), rtol=0, atol=1e-12)
