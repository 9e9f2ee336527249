"""The helpers of suites: they let the right answer pass and find mistakes of known sizes."""

from __future__ import annotations

import doctest
import math

import pytest
import torch

from course_flows.grading import properties, text
from course_flows.grading.properties import (
    PropertyError,
    assert_close,
    finite_difference_jacobian,
    finite_difference_log_det,
    same_distribution,
    shuffled,
    total_mass,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("module", [properties, text], ids=lambda module: module.__name__)
def test_doctests(module: object) -> None:
    assert doctest.testmod(module).failed == 0


def test_assert_close_needs_equal_shapes_types_and_numbers() -> None:
    x = torch.arange(3.0, dtype=torch.float64)
    assert_close(x + 1e-12, x, 1e-10)
    assert_close(2.0, torch.tensor(2.0), 0.0)
    assert_close(torch.tensor([math.inf]), torch.tensor([math.inf]), 0.0)
    assert_close(x * (1 + 1e-6), x, 0.0, relative=1e-5)
    for found in (x + 1e-9, x[:2], x[None], x[:0], x.float(), x * math.nan):
        with pytest.raises(PropertyError):
            assert_close(found, x, 1e-10)


def test_finite_differences_agree_with_the_exact_jacobian() -> None:
    weight = torch.randn(4, 4, dtype=torch.float64, generator=generator())

    def call(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ weight) + x**3

    x = torch.randn(6, 4, dtype=torch.float64, generator=generator(1))
    exact = torch.func.vmap(torch.func.jacrev(call))(x)
    assert_close(finite_difference_jacobian(call, x, generator(2)), exact, 1e-9)
    assert_close(finite_difference_log_det(call, x), torch.linalg.slogdet(exact)[1], 1e-8)
    numbers = torch.linspace(-2, 2, 9, dtype=torch.float64)
    assert_close(finite_difference_log_det(torch.sinh, numbers), torch.cosh(numbers).log(), 1e-9)
    images = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=generator(3))
    expected = torch.full((2,), 4 * math.log(3), dtype=x.dtype)
    assert_close(finite_difference_log_det(lambda y: 3 * y, images), expected, 1e-9)


def test_shuffled_finds_a_function_that_looks_at_its_batch() -> None:
    x = torch.randn(30, 2, dtype=torch.float64, generator=generator())
    assert torch.equal(shuffled(torch.exp, x, generator(1)), x.exp())
    with pytest.raises(PropertyError):
        assert_close(shuffled(lambda y: y - y.mean(0), x, generator(1)), x - x.mean(0), 1e-6)


def normal_log_prob(x: torch.Tensor) -> torch.Tensor:
    return -0.5 * (x**2 + math.log(2 * math.pi)).sum(-1)


def test_total_mass_finds_five_percent_and_batch_normalization() -> None:
    mass, error = total_mass(normal_log_prob, 2, generator(), samples=40_000)
    assert abs(mass - 1) < 4 * error
    assert error < 0.01
    mass, error = total_mass(lambda x: normal_log_prob(x) + math.log(1.05), 2, generator(), samples=40_000)
    assert mass - 1 > 4 * error
    mass, error = total_mass(lambda x: normal_log_prob(x).log_softmax(0), 2, generator())
    assert abs(mass - 1) > 4 * error
    mass, error = total_mass(lambda x: normal_log_prob(x[:, None]), 0, generator())
    assert abs(mass - 1) < 4 * error


def test_same_distribution_has_power_and_no_false_alarms() -> None:
    for seed in range(50):
        rng = generator(seed)
        a, b = torch.randn(2, 5000, 2, generator=rng)
        same_distribution(a, b, rng)
    for wrong in (lambda s: 1.1 * s, lambda s: s + 0.15, lambda s: s.sign() * s.abs().sqrt()):
        with pytest.raises(PropertyError):
            same_distribution(wrong(a), b, generator(9))
    with pytest.raises(PropertyError, match="distinct"):
        same_distribution(a[torch.randint(0, 2500, (5000,), generator=rng)], b, rng)
