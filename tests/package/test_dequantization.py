"""Dequantization: noise stays in its cell, its density is right, and the bounds are bounds on the exact probability."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from course_flows import Compose, Flow, bits_per_dim, quantize
from course_flows.dequantization import (
    Dequantizer,
    UniformDequantizer,
    VariationalDequantizer,
    log_probability_bound,
)
from course_flows.distributions import StandardNormal
from course_flows.transforms import AffineCoupling, Diagonal, Logit

LEVELS = 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def perturb(module: nn.Module, size: float = 0.3) -> nn.Module:
    torch.manual_seed(5)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))
    return module.double()


def small_flow() -> Flow:
    """A density on the unit square, bent enough that it is not flat inside a cell."""
    couplings = [AffineCoupling.mlp(2, (8,), flip=bool(k)) for k in range(2)]
    flow = perturb(Flow(Compose(Logit(0.0), *couplings, Diagonal(2)), StandardNormal(2)), 0.3)
    with torch.no_grad():
        flow.transform[-1].log_scale.fill_(0.2)  # no density at the ends of the unit interval
    return flow


def noisy(kind: str) -> Dequantizer:
    if kind == "uniform":
        return UniformDequantizer(LEVELS).double()
    return perturb(VariationalDequantizer.build(2, LEVELS, couplings=2, hidden=(8,)))


def all_images() -> Tensor:
    return torch.cartesian_prod(torch.arange(LEVELS), torch.arange(LEVELS))


def inner_grid(number: int) -> Tensor:
    line = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    return torch.cartesian_prod(line, line)


@torch.no_grad()
def exact_log_probability(flow: Flow, images: Tensor, number: int = 400) -> Tensor:
    """Integral of the density over each cell by the midpoint rule."""
    u = inner_grid(number)
    return torch.stack([(flow.log_prob((x + u) / LEVELS).exp().mean() / LEVELS**2).log() for x in images])


def test_the_exact_probabilities_add_up_to_one():
    assert exact_log_probability(small_flow(), all_images()).exp().sum().item() == pytest.approx(1.0, abs=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["uniform", "variational"])
def test_the_importance_weights_average_to_the_exact_probability(kind):
    flow, dequantizer, number = small_flow(), noisy(kind), 40_000
    for x, expected in zip(all_images(), exact_log_probability(flow, all_images()).exp(), strict=True):
        weights = log_probability_bound(flow, x.expand(number, 2), dequantizer, generator=generator()).exp()
        error = weights.std().item() / math.sqrt(number)
        assert abs(weights.mean().item() - expected.item()) < 4.5 * error + 1e-4 * expected.item()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["uniform", "variational"])
def test_the_bound_lies_below_the_truth_and_rises_with_samples(kind):
    flow, dequantizer = small_flow(), noisy(kind)
    images = all_images()
    exact = exact_log_probability(flow, images)
    bounds = []
    for samples in (1, 8, 64):
        many = log_probability_bound(flow, images.repeat(1000, 1), dequantizer, samples, generator(1))
        bounds.append(many.reshape(1000, len(images)).mean(dim=0))
    assert (bounds[0] < exact - 0.01).all()
    assert (bounds[0] < bounds[1]).all()
    assert (bounds[1] < bounds[2]).all()
    assert (bounds[2] < exact + 0.02).all()
    assert (exact - bounds[2] < 0.25 * (exact - bounds[0])).all()


@torch.no_grad()
def test_bits_per_dim_says_the_bound():
    flow, dequantizer, images = small_flow(), noisy("variational"), all_images()
    found = bits_per_dim(flow, images, LEVELS, samples=4, generator=generator(3), dequantizer=dequantizer)
    expected = log_probability_bound(flow, images, dequantizer, 4, generator(3))
    assert found.nats == pytest.approx(expected.mean().item(), abs=1e-12)
    assert found.bits == pytest.approx(-expected.mean().item() / (2 * math.log(2)), abs=1e-12)
    uniform = bits_per_dim(flow, images, LEVELS, generator=generator(4))
    same = bits_per_dim(flow, images, LEVELS, generator=generator(4), dequantizer=UniformDequantizer(LEVELS).double())
    assert uniform == same


@torch.no_grad()
@pytest.mark.parametrize("shape", [(3,), (2, 4, 3)], ids=["vectors", "images"])
def test_the_density_of_the_noise_is_that_of_the_draw(shape):
    dequantizer = perturb(VariationalDequantizer.build(shape, 4, hidden=(8,), channels=4), 0.1)
    images = torch.randint(4, (50, *shape))
    points, log_q = dequantizer(images, generator())
    assert log_q.shape == (50,)
    assert log_q.abs().max() > 0.1
    torch.testing.assert_close(dequantizer.log_prob(points * 4 - images, images), log_q, rtol=0, atol=1e-8)


@torch.no_grad()
def test_the_density_of_the_noise_integrates_to_one_for_every_image():
    """On a grid of v with u = sigmoid(v), since the density may rise without bound at the ends of [0, 1]."""
    dequantizer, half = noisy("variational"), 30.0
    v = half * (2 * inner_grid(400) - 1)
    u, slope = v.sigmoid(), (v.sigmoid() * (-v).sigmoid()).prod(dim=1)
    for x in all_images():
        mass = (dequantizer.log_prob(u, x.expand(len(u), 2)).exp() * slope).mean().item() * (2 * half) ** 2
        assert mass == pytest.approx(1.0, abs=1e-3)
    a, b = (dequantizer.log_prob(u[:1000], x.expand(1000, 2)) for x in all_images()[[0, -1]])
    assert not torch.allclose(a, b)


@pytest.mark.parametrize("shape", [(3,), (1, 4, 4)], ids=["vectors", "images"])
def test_variational_noise_starts_uniform(shape):
    images = torch.randint(8, (200, *shape))
    start = VariationalDequantizer.build(shape, 8, hidden=(8,), channels=4).double()
    points, log_q = start(images, generator())
    expected, zeros = UniformDequantizer(8).double()(images, generator())
    torch.testing.assert_close(points, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_q, zeros, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shift", [-1e3, -20.0, 20.0, 1e3])
def test_no_noise_leaves_its_cell(shift, dtype):
    """Noise that is pushed against the ends of [0, 1] by a transform rounds to 0 or 1: the points still stay inside."""
    transform = Diagonal(4)
    with torch.no_grad():
        transform.shift.fill_(shift)
    dequantizer = VariationalDequantizer(transform, levels=22).to(dtype)
    images = torch.randint(22, (500, 4))
    points, log_q = dequantizer(images, generator())
    assert points.dtype == dtype
    assert points.min() >= 0
    assert points.max() < 1
    assert torch.equal(quantize(points, 22), images)
    assert torch.isfinite(log_q).all()


def toy_images(count: int) -> Tensor:
    """Strokes with few gray levels, like digits: most pixels are 0 or near the top."""
    torch.manual_seed(0)
    base = (torch.rand(count, 1, 1, 4) < 0.5).expand(count, 1, 4, 4)
    noise = torch.randint(0, 2, (count, 1, 4, 4))
    return torch.where(base, 6 - noise, noise * (torch.rand(count, 1, 4, 4) < 0.2)).long()


def test_trained_noise_costs_less_than_uniform_noise():
    """For a fixed model the bound can only gain from noise that learns where the model is; uniform is its start."""
    images, held_out = toy_images(1500)[:1000].flatten(1), toy_images(1500)[1000:].flatten(1)
    flow = Flow(
        Compose(Logit(0.05), *[AffineCoupling.mlp(16, (32,), bool(k % 2)) for k in range(4)]), StandardNormal(16)
    )
    uniform, variational = UniformDequantizer(7), VariationalDequantizer.build(16, 7, couplings=2, hidden=(32,))

    def train(dequantizer: Dequantizer, module: nn.Module) -> None:
        optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
        source = generator()
        for _ in range(150):
            batch = images[torch.randint(len(images), (100,), generator=source)]
            loss = -log_probability_bound(flow, batch, dequantizer, generator=source).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    train(uniform, flow)
    train(variational, variational)
    before, after = (
        bits_per_dim(flow, held_out, 7, generator=generator(9), dequantizer=d) for d in (uniform, variational)
    )
    assert after.bits < before.bits - 0.02


def test_gradients_reach_the_flow_the_noise_and_the_encoder():
    encoder = nn.Linear(2, 2)
    dequantizer = VariationalDequantizer(VariationalDequantizer.build(2, LEVELS).transform, LEVELS, encoder)
    dequantizer, flow = perturb(dequantizer), small_flow()
    log_probability_bound(flow, all_images(), dequantizer, 2).sum().backward()
    for p in (*dequantizer.parameters(), *flow.parameters()):
        assert p.grad is not None
        assert p.grad.abs().max() > 0


def test_modes_come_back_and_noise_is_reproducible():
    flow, dequantizer = small_flow(), noisy("variational")
    dequantizer.train()
    dequantizer.transform.eval()
    before = torch.get_rng_state()
    bits = [
        bits_per_dim(flow, all_images(), LEVELS, generator=generator(s), dequantizer=dequantizer) for s in (1, 1, 2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert bits[0] == bits[1] != bits[2]
    assert dequantizer.training
    assert not dequantizer.transform.training


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: UniformDequantizer(1), ValueError, "UniformDequantizer expects at least 2 levels, found 1"),
        (lambda: UniformDequantizer(4)(torch.rand(2, 2)), TypeError, "integer images with values 0 to 3"),
        (lambda: noisy("variational")(torch.full((2, 2), 3)), ValueError, r"from 0 to 2 \(levels=3\)"),
        (lambda: VariationalDequantizer.build((4, 4)), ValueError, r"vectors D or images \(C, H, W\), found \(4, 4\)"),
        (lambda: Dequantizer(4)(torch.zeros(2, 2)), NotImplementedError, "does not define forward"),
        (
            lambda: log_probability_bound(small_flow(), all_images(), noisy("uniform"), samples=0),
            ValueError,
            "at least 1 sample, found 0",
        ),
        (
            lambda: bits_per_dim(small_flow(), all_images(), 4, dequantizer=UniformDequantizer(8)),
            ValueError,
            "a dequantizer of 4 levels, found one of 8",
        ),
    ],
)
def test_wrong_use_is_said_in_a_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
