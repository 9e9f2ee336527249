"""The shapes in the plane are the shapes that their docstrings describe."""

import math

import pytest
import torch

from course_flows.data import toy


def test_two_moons_are_half_circles():
    x = toy.two_moons(9, noise=0.0, dtype=torch.float64)
    upper, lower = x[:4] + torch.tensor([0.5, 0.25]), x[4:] - torch.tensor([0.5, 0.25])
    torch.testing.assert_close(upper.norm(dim=1), torch.ones(4).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(lower.norm(dim=1), torch.ones(5).double(), rtol=0, atol=1e-12)
    assert (upper[:, 1] > 0).all()
    assert (lower[:, 1] < 0).all()


def test_two_spirals_are_archimedean_and_mirrored():
    x = toy.two_spirals(20_000, noise=0.0, dtype=torch.float64)
    turn = 3 * x.norm(dim=1)
    assert turn.max() <= 3 * math.pi
    assert turn.max() > 3 * math.pi - 0.01
    arm = torch.stack([-turn.cos(), turn.sin()], dim=1) * turn[:, None] / 3
    sign = torch.where(((x - arm).norm(dim=1) < (x + arm).norm(dim=1))[:, None], 1.0, -1.0)
    torch.testing.assert_close(x, sign * arm, rtol=0, atol=1e-9)
    assert sign.mean().abs() < 0.05
    assert (turn / (3 * math.pi)).square().mean() == pytest.approx(0.5, abs=0.02)  # denser where the arm is longer


def test_pinwheel_has_equal_bent_arms():
    x = toy.pinwheel(50_000, arms=5, dtype=torch.float64) / 2
    along = x.norm(dim=1)
    angle = torch.atan2(x[:, 1], x[:, 0]) - 0.25 * along.exp()
    phase = torch.polar(torch.ones_like(angle), 5 * angle)
    assert phase.mean().abs() > 0.85  # all arms lie on one curve, turned by fifths of a circle
    assert torch.polar(torch.ones_like(angle), angle).mean().abs() < 0.02
    assert along.mean() == pytest.approx(1.0, abs=0.01)


def test_pinwheel_arms_are_thin_across():
    x = toy.pinwheel(50_000, arms=1, dtype=torch.float64) / 2
    along = x.norm(dim=1)
    turned = torch.atan2(x[:, 1], x[:, 0]) - 0.25 * along.exp()
    across = along * (turned - 0.0).sin()
    middle = (along > 0.9) & (along < 1.1)
    assert across[middle].std() == pytest.approx(0.05, rel=0.05)


def test_densities_are_exact_in_float64():
    on = torch.tensor([[-3.0, -3.0], [-1.0, -1.0]], dtype=torch.float64)
    assert toy.checkerboard_log_prob(on).tolist() == [-math.log(32.0)] * 2


def test_densities_vanish_outside():
    off = torch.tensor([[-1.0, -3.0], [5.0, 5.0], [5.0, 1.0], [-5.0, 1.0], [1.0, 5.0]], dtype=torch.float64)
    assert torch.isneginf(toy.checkerboard_log_prob(off)).all()


def test_digits_keep_their_labels_and_order():
    from sklearn.datasets import load_digits

    from course_flows.data import load_images

    bunch = load_digits()
    known = {tuple(x): y for x, y in zip(bunch.data.astype(int).tolist(), bunch.target.tolist())}
    for split in ("train", "test"):
        data = load_images("digits", split)
        assert [known[tuple(x)] for x in data.images.flatten(1).tolist()] == data.labels.tolist()
    assert load_images("digits").labels[:8].tolist() == [6, 5, 5, 7, 9, 9, 8, 4]


def test_tables_are_in_the_units_of_their_source():
    from course_flows.data import load_tabular

    assert load_tabular("diabetes").column("age").min() == 19.0
    assert load_tabular("iris").labels.bincount().tolist() == [50, 50, 50]
