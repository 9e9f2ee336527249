"""Walks through latent space, directions of attributes, and the temperature of samples."""

import pytest
import torch

from course_flows import Flow
from course_flows.applications import attribute_direction, interpolate, move_along
from course_flows.distributions import StandardNormal
from course_flows.models import build
from course_flows.transforms import AffineCoupling, DenseLinear


def perturbed(flow, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return flow.double().eval()


@pytest.fixture(scope="module")
def images():
    """A small Glow, and images in two batches."""
    flow = perturbed(build("glow-digits", (1, 8, 8), steps=2, channels=8))
    x = torch.rand(2, 5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return flow, *x


def test_a_walk_runs_straight_through_latent_space_and_ends_at_both_images(images):
    flow, start, end = images
    walk = interpolate(flow, start, end, steps=5)
    assert walk.shape == (5, 5, 1, 8, 8)
    torch.testing.assert_close(walk[0], start, rtol=0, atol=1e-10)
    torch.testing.assert_close(walk[-1], end, rtol=0, atol=1e-10)
    z = flow.encode(walk)
    steps = z.diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), rtol=0, atol=1e-9)
    assert (walk[2] - (start + end) / 2).abs().max() > 1e-2  # it is not the mean of the pixels
    assert not walk.requires_grad


def test_a_direction_moves_mean_latents_from_one_set_to_the_other(images):
    flow, having, lacking = images
    direction = attribute_direction(flow, having, lacking[:3])
    moved = flow.encode(move_along(flow, lacking[:3], direction, [0.0, 0.5, 1.0]))
    torch.testing.assert_close(moved[2].mean(0), flow.encode(having).mean(0), rtol=0, atol=1e-9)
    torch.testing.assert_close(moved[1], (moved[0] + moved[2]) / 2, rtol=0, atol=1e-9)
    torch.testing.assert_close(moved[0], flow.encode(lacking[:3]), rtol=0, atol=1e-9)


def test_context_reaches_both_ways():
    flow = perturbed(build("glow", (1, 4, 4), levels=1, steps=2, channels=4, classes=3))
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64)
    c = torch.eye(3, dtype=torch.float64)[:2, :, None, None]
    walk = interpolate(flow, x, x.flip(0), 3, c)
    torch.testing.assert_close(walk[0], x, rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="context"):
        interpolate(flow, x, x, 3)


def test_what_cannot_be_walked_is_refused(images):
    flow, start, end = images
    with pytest.raises(ValueError, match="at least 2 steps"):
        interpolate(flow, start, end, steps=1)
    with pytest.raises(ValueError, match=r"equal shape, found 3 steps, \(5, 1, 8, 8\) and \(4, 1, 8, 8\)"):
        interpolate(flow, start, end[:4], steps=3)
    with pytest.raises(ValueError, match=r"neither empty, found \(5, 1, 8, 8\) and \(0, 1, 8, 8\)"):
        attribute_direction(flow, start, end[:0])
    with pytest.raises(ValueError, match=r"batches of shape \(N, 1, 8, 8\), .* found \(1, 8, 8\) and \(1, 8, 8\)"):
        attribute_direction(flow, start[0], end[0])
    with pytest.raises(ValueError, match=r"at least one amount, .* 0 amounts"):
        move_along(flow, start, start[0], [])
    with pytest.raises(ValueError, match=r"direction of shape \(1, 8, 8\) and .* found \(5, 1, 8, 8\)"):
        move_along(flow, start, end, [1.0])
    with pytest.raises(ValueError, match="temperature of 0 or more, found -1"):
        flow.sample(3, temperature=-1)


def test_temperature_multiplies_the_noise_and_nothing_else(images):
    flow, *_ = images
    torch.manual_seed(3)
    noise = flow.base.rsample((4,))
    torch.manual_seed(3)
    with torch.no_grad():  # as `sample` decodes: with gradients, other sums give other last digits
        warm, cold = flow.decode(0.7 * noise), flow.decode(0 * noise)
    torch.testing.assert_close(flow.sample(4, temperature=0.7), warm, rtol=0, atol=0)
    torch.testing.assert_close(flow.sample(4, temperature=0), cold, rtol=0, atol=0)


def test_temperature_keeps_what_the_flow_learned_of_the_mean_and_shrinks_the_spread():
    """Of a normal density N(m, S) the samples at temperature T follow N(m, T² S)."""
    flow = Flow(
        DenseLinear.from_matrix(torch.tensor([[2.0, 0.0], [1.0, 0.5]]), torch.tensor([3.0, -1.0])), StandardNormal(2)
    )
    torch.manual_seed(0)
    exact, cool = flow.sample(100_000), flow.sample(100_000, temperature=0.5)
    torch.testing.assert_close(cool.mean(0), exact.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(cool.T.cov(), exact.T.cov() / 4, rtol=0, atol=0.1)


def test_temperature_of_a_conditional_prior_leaves_its_mean_alone():
    """Glow's prior is a coupling: cool samples lie around the mean that it learned, not around 0."""
    prior = AffineCoupling(torch.tensor([True, False]), torch.nn.Linear(1, 2))
    with torch.no_grad():
        prior.net.weight.zero_()
        prior.net.bias.copy_(torch.tensor([0.0, -4.0]))  # z = x - 4: the prior of the second is N(4, 1)
    torch.manual_seed(0)
    x = Flow(prior, StandardNormal(2)).sample(2_000, temperature=0.1)
    assert x[:, 1].mean().item() == pytest.approx(4, abs=0.02)
    assert x[:, 1].std().item() == pytest.approx(0.1, abs=0.02)
