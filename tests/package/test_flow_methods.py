"""Every method of a flow checks its points; torch.func and torch.distributions can use it."""

import math

import pytest
import torch

from course_flows import Compose, Flow
from course_flows.checks import check_identity
from course_flows.distributions import FromTorch, StandardLogistic, StandardNormal, StandardUniform
from course_flows.transforms import (
    AffineCoupling,
    DenseLinear,
    Diagonal,
    LeakyReLU,
    Logit,
)


def test_every_method_checks_its_points():
    flow = Flow(Diagonal(2), StandardNormal(2))
    for method in ("log_prob", "encode", "decode"):
        with pytest.raises(ValueError, match=f"{method} expects a tensor of shape"):
            getattr(flow, method)(torch.zeros(5, 3))
        with pytest.raises(ValueError, match=f"{method} expects finite"):
            getattr(flow, method)(torch.full((5, 2), math.nan))
    assert torch.isnan(
        Flow(Diagonal(2), StandardNormal(2), validate=False).log_prob(torch.full((1, 2), math.nan))
    ).all()
    with pytest.raises(ValueError, match=r"\(\*batch, 1, 4, 4\), found \(4, 4\)"):
        Flow(LeakyReLU(event_ndim=3), StandardNormal((1, 4, 4))).log_prob(torch.zeros(4, 4))


def test_sampled_log_prob_of_elementwise_transforms():
    flow = Flow(LeakyReLU(0.3, event_ndim=0), StandardNormal((2, 3))).double()
    x, log_prob = flow.rsample_and_log_prob(5)
    assert log_prob.shape == (5,)
    torch.testing.assert_close(log_prob, flow.log_prob(x), rtol=0, atol=1e-12)


def test_support_is_that_of_whole_points():
    support = Flow(Diagonal(2), StandardNormal(2)).as_distribution().support
    assert support.event_dim == 1
    assert support.check(torch.zeros(5, 2)).shape == (5,)


def test_bases_at_their_edges(monkeypatch):
    uniform = StandardUniform(2)
    assert torch.equal(uniform.log_prob(torch.tensor([[0.0, 1.0]])), torch.zeros(1))
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    assert torch.isfinite(StandardLogistic(2).rsample((3,))).all()
    count = FromTorch(torch.distributions.Poisson(torch.full((2,), 3.0)))
    assert count.rsample((5,)).shape == (5, 2)


def test_maps_over_points_with_torch_func():
    from torch.func import grad, jacrev, vmap

    flow = Flow(Compose(Logit(0.1), DenseLinear(2), AffineCoupling.mlp(2)), StandardNormal(2)).double()
    x = torch.rand(5, 2, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(flow.log_prob(leaf).sum(), leaf)
    torch.testing.assert_close(vmap(grad(flow.log_prob))(x), expected, rtol=0, atol=1e-12)
    log_det = torch.linalg.slogdet(vmap(jacrev(flow.encode))(x)).logabsdet
    torch.testing.assert_close(log_det, flow.transform(x)[1], rtol=0, atol=1e-10)


def test_check_identity_takes_the_largest_error_whatever_its_sign():
    for found in ([0.0, 1.0], [0.0, -1.0]):
        with pytest.raises(AssertionError, match=r"largest error 1.0e\+00"):
            check_identity("eq-x", found, [0.0, 0.0], 0.6)
    check_identity("eq-x", torch.ones(2, requires_grad=True), [1.0, 1.0], 0.0)


def test_check_identity_refuses_complex_numbers():
    with pytest.raises((TypeError, ValueError)):
        check_identity("eq-x", torch.tensor([1 + 1j]), torch.tensor([1 + 2j]), 1e-3)


@pytest.mark.parametrize("z", [torch.full((1, 2), 200.0), torch.ones(1, 30_000)], ids=["far out", "many"])
def test_a_normal_in_half_precision_overflows_no_earlier_than_its_log_density(z):
    base = StandardNormal(z.shape[-1])
    expected = base.log_prob(z)
    assert -65_000 < expected.item() < -35_000
    torch.testing.assert_close(base.half().log_prob(z.half()).float(), expected, rtol=2e-3, atol=0)
