"""Batch normalization: what it does in training, what it remembers, and that evaluation is exact."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from course_flows import Compose, Flow
from course_flows.distributions import StandardNormal
from course_flows.transforms import BatchNorm

KINDS = {"vectors": (1, (40, 3)), "images": (3, (10, 3, 4, 2)), "two batch dimensions": (3, (5, 2, 3, 4, 2))}
each_kind = pytest.mark.parametrize(("event_ndim", "shape"), KINDS.values(), ids=KINDS.keys())


def points(shape: tuple[int, ...], event_ndim: int) -> Tensor:
    spread = torch.tensor([0.5, 2.0, 5.0], dtype=torch.float64).reshape(3, *[1] * (event_ndim - 1))
    return spread * torch.randn(shape, dtype=torch.float64) + 3 * spread


def features_last(x: Tensor, event_ndim: int) -> Tensor:
    return x.movedim(-event_ndim, -1).reshape(-1, 3)


@each_kind
def test_a_training_batch_leaves_with_mean_zero_and_variance_one(event_ndim, shape):
    norm, x = BatchNorm(3, event_ndim).double(), points(shape, event_ndim)
    values = features_last(norm(x)[0], event_ndim)
    torch.testing.assert_close(values.mean(dim=0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    variance = features_last(x, event_ndim).var(dim=0, correction=0)
    torch.testing.assert_close(values.var(dim=0, correction=0), variance / (variance + 1e-5), rtol=1e-12, atol=0)
    with torch.no_grad():
        norm.log_scale.copy_(torch.tensor([0.0, 1.0, -1.0]))
        norm.shift.copy_(torch.tensor([0.0, 5.0, -5.0]))
    scaled = features_last(norm(x)[0], event_ndim)
    torch.testing.assert_close(scaled, values * norm.log_scale.exp() + norm.shift, rtol=0, atol=1e-12)


@each_kind
def test_running_averages_follow_their_formula(event_ndim, shape):
    norm = BatchNorm(3, event_ndim, momentum=0.25).double()
    mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    for seed in range(3):
        torch.manual_seed(seed)
        x = points(shape, event_ndim)
        norm(x)
        values = features_last(x, event_ndim)
        mean = 0.75 * mean + 0.25 * values.mean(dim=0)
        variance = 0.75 * variance + 0.25 * values.var(dim=0, correction=0)
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(norm.running_variance, variance, rtol=1e-12, atol=0)
    before = norm.running_mean.clone()
    norm.eval()(x)
    norm.train().inverse(x)
    assert torch.equal(norm.running_mean, before)


@each_kind
def test_evaluation_is_exact(event_ndim, shape):
    norm, x = BatchNorm(3, event_ndim).double(), points(shape, event_ndim)
    with torch.no_grad():
        norm.log_scale.copy_(torch.tensor([0.3, 1.0, -1.0]))
    norm(x)
    norm.eval()
    z, log_det = norm(x)
    back, inverse_log_det = norm.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-12)
    one = x.reshape(-1, *shape[len(shape) - event_ndim :])[0]
    jacobian = torch.autograd.functional.jacobian(lambda v: norm(v)[0], one).reshape(one.numel(), one.numel())
    assert log_det.flatten()[0].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-10)


@each_kind
def test_before_any_forward_the_inverse_is_the_identity(event_ndim, shape):
    norm, z = BatchNorm(3, event_ndim, eps=1e-12).double(), points(shape, event_ndim)
    x, log_det = norm.inverse(z)
    torch.testing.assert_close(x, z, rtol=1e-11, atol=0)
    torch.testing.assert_close(log_det, torch.zeros_like(log_det), rtol=0, atol=1e-9)


def test_gradients_flow_through_the_statistics():
    """Moving all points together changes nothing, since the mean moves along: the gradients must add up to zero."""
    norm, x = BatchNorm(3).double(), points((40, 3), 1).requires_grad_()
    weights = torch.randn(40, 3, dtype=torch.float64)
    (norm(x)[0] * weights).sum().backward()
    torch.testing.assert_close(x.grad.sum(dim=0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda v: norm(v), (points((5, 3), 1).requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize(
    ("event_ndim", "shape", "found"),
    [(1, (1, 3), 1), (1, (3,), 1), (1, (0, 3), 0), (3, (3, 1, 1), 1), (3, (1, 3, 1, 1), 1), (3, (0, 3, 2, 2), 0)],
)
def test_a_batch_without_a_variance_is_refused_in_training(event_ndim, shape, found):
    norm = BatchNorm(3, event_ndim)
    with pytest.raises(ValueError, match=f"at least 2 values a feature, found {found}"):
        norm(torch.zeros(shape))
    assert norm.eval()(torch.zeros(shape))[0].shape == shape


def test_one_image_has_enough_values():
    assert BatchNorm(3, event_ndim=3)(torch.randn(3, 2, 2))[1].shape == ()


def test_a_reloaded_flow_gives_the_same_numbers():
    def flow() -> Flow:
        return Flow(Compose(BatchNorm(3), BatchNorm(3)), StandardNormal(3)).double()

    trained, x = flow(), points((40, 3), 1)
    for _ in range(3):
        trained.log_prob(x)
    other = flow()
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other.eval().log_prob(x), trained.eval().log_prob(x))
    assert torch.equal(other.decode(x), trained.decode(x))
    expected = 1 - 0.9**3
    assert other.transform[0].running_mean[0].item() == pytest.approx(expected * x[:, 0].mean().item())


def test_wrong_settings_and_points_are_said_in_a_sentence():
    for options in ({"momentum": 0.0}, {"momentum": 1.5}, {"eps": 0.0}, {"features": 0}):
        with pytest.raises(ValueError, match="BatchNorm expects at least 1 feature, a momentum above 0"):
            BatchNorm(**{"features": 3, **options})
    with pytest.raises(ValueError, match="event_ndim 1"):
        BatchNorm(3, event_ndim=2)
    with pytest.raises(ValueError, match=r"\(\*batch, 3, H, W\), found \(2, 4, 3, 3\)"):
        BatchNorm(3, event_ndim=3)(torch.zeros(2, 4, 3, 3))
    with pytest.raises(ValueError, match=r"\(\*batch, 3\), found \(2,\)"):
        BatchNorm(3).inverse(torch.zeros(2))
    assert math.isclose(BatchNorm(3).eps, 1e-5)
