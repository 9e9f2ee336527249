"""Maximum likelihood reaches a known optimum and says when it cannot go on."""

from __future__ import annotations

import math

import pytest
import torch

from course_flows import Compose, Flow, dequantize, fit
from course_flows.checks import check_identity
from course_flows.distributions import StandardNormal
from course_flows.transforms import DenseLinear, Diagonal, Logit, LULinear, MonotoneSpline


def correlated(n: int = 400) -> torch.Tensor:
    torch.manual_seed(0)
    mixing = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.5, 0.0], [-0.3, 0.2, 1.5]], dtype=torch.float64)
    return torch.randn(n, 3, dtype=torch.float64) @ mixing.T + torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


@pytest.mark.parametrize("kind", [DenseLinear, LULinear])
def test_an_affine_flow_reaches_the_gaussian_optimum(kind):
    x = correlated()
    flow = Flow(kind(3), StandardNormal(3)).double()
    fit(flow, x, steps=1000, lr=0.1)
    covariance = torch.cov(x.T, correction=0)
    optimum = 0.5 * (3 * math.log(2 * math.pi * math.e) + torch.logdet(covariance).item())
    reached = -flow.log_prob(x).mean().item()
    assert optimum - 1e-9 <= reached < optimum + 1e-4


def test_batches_cover_the_data_and_the_seed_decides():
    x = correlated(64)

    def run(seed: int) -> list[float]:
        flow = Flow(Diagonal(3), StandardNormal(3)).double()
        return fit(flow, x, steps=12, batch_size=16, seed=seed, validation=x, validate_every=4).train_nll

    assert run(0) == run(0)
    assert run(0) != run(1)


def test_history_and_modes():
    flow = Flow(Diagonal(3), StandardNormal(3)).double()
    history = fit(flow, correlated(), steps=9, validation=correlated(), validate_every=4)
    assert history.steps == list(range(9))
    assert len(history.train_nll) == 9
    assert history.validation_steps == [0, 4, 8]
    assert len(history.validation_nll) == 3
    assert history.train_nll[-1] < history.train_nll[0]
    assert not flow.training


def test_integers_are_prepared_afresh_every_step():
    images = torch.randint(4, (200, 3), generator=torch.Generator().manual_seed(0))
    flow = Flow(Compose(Logit(0.05), Diagonal(3)), StandardNormal(3)).double()
    seen = []

    def prepare(batch: torch.Tensor) -> torch.Tensor:
        seen.append(dequantize(batch, 4, dtype=torch.float64))
        return seen[-1]

    with torch.no_grad():  # training switches gradients on by itself
        history = fit(flow, images, steps=30, batch_size=100, lr=0.05, prepare=prepare)
    assert history.train_nll[-1] < history.train_nll[0] - 0.3
    assert len({batch.sum().item() for batch in seen}) == len(seen)


def test_bad_data_and_divergence_are_said():
    flow = Flow(Diagonal(3), StandardNormal(3)).double()
    with pytest.raises(ValueError, match="fit expects finite numbers"):
        fit(flow, torch.full((5, 3), math.nan, dtype=torch.float64), steps=1)
    with pytest.raises(ValueError, match="fit expects a tensor of shape"):
        fit(flow, torch.zeros(5, 2, dtype=torch.float64), steps=1)
    with pytest.raises(RuntimeError, match="at step 0: lower lr or check the data"):
        fit(flow, torch.full((5, 3), 1e200, dtype=torch.float64), steps=3)


def test_a_spline_learns_two_humps():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(500, 1) * 0.3 - 1.2, torch.randn(500, 1) * 0.3 + 1.2]).double()
    bent = Flow(Compose(Diagonal(1), MonotoneSpline(1, bins=8)), StandardNormal(1)).double()
    straight = Flow(Diagonal(1), StandardNormal(1)).double()
    for flow in (bent, straight):
        fit(flow, x, steps=300, lr=0.03)
    assert bent.log_prob(x).mean() > straight.log_prob(x).mean() + 0.4


def test_check_identity_holds_fails_and_refuses(capsys):
    check_identity("eq-x", torch.tensor([1.0, 2.0]), [1.0, 2.0 + 1e-7], 1e-6)
    line = capsys.readouterr().out
    assert line.startswith("[eq-x] largest error 1")
    assert line.endswith(", tolerance 1.0e-06: holds\n")
    for found in (1.1, math.nan, math.inf):
        with pytest.raises(AssertionError, match="does not hold"):
            check_identity("eq-x", found, 1.0, 1e-3)
    with pytest.raises(ValueError, match="one shape"):
        check_identity("eq-x", torch.zeros(3), torch.zeros(1), 1.0)
    with pytest.raises(ValueError, match="found none"):
        check_identity("eq-x", torch.zeros(0), torch.zeros(0), 1.0)
