"""Bits per dimension: every constant, and that the bound is a bound."""

from __future__ import annotations

import math

import pytest
import torch

from course_flows import Compose, Flow, bits_per_dim, dequantize, quantize
from course_flows.distributions import StandardLogistic, StandardNormal, StandardUniform
from course_flows.models import build
from course_flows.transforms import Diagonal, LeakyReLU, Logit
from course_flows.transforms.preprocessing import place_in_cells


def uniform_flow(features: int) -> Flow:
    return Flow(LeakyReLU(1.0), StandardUniform(features))


def logistic_flow(features: int) -> Flow:
    flow = Flow(Compose(Logit(0.05), Diagonal(features)), StandardLogistic(features)).double()
    with torch.no_grad():
        flow.transform[1].log_scale.fill_(0.5)
    return flow


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_uniform_costs_exactly_log2_levels(levels):
    images = torch.randint(levels, (40, 6))
    result = bits_per_dim(uniform_flow(6), images, levels=levels, samples=3)
    assert result.bits == pytest.approx(math.log2(levels), abs=1e-12)
    assert result.nats == pytest.approx(-6 * math.log(levels), abs=1e-9)


def exact_bits(flow: Flow, images: torch.Tensor, levels: int) -> float:
    """Probability of each pixel by differences of the cumulative distribution: the coordinates are independent."""

    def cdf(values: torch.Tensor) -> torch.Tensor:
        inner = flow.encode(values.clamp(0, 1).double())
        low, high = (
            flow.encode(torch.zeros(1, images.shape[1]).double()),
            flow.encode(torch.ones(1, images.shape[1]).double()),
        )
        return inner.sigmoid(), low.sigmoid(), high.sigmoid()

    above, _, _ = cdf((images + 1) / levels)
    below, _, _ = cdf(images / levels)
    return -((above - below).log().sum(dim=1).mean() / (images.shape[1] * math.log(2))).item()


@torch.no_grad()
def test_bound_lies_above_the_exact_cost_and_closes_with_samples():
    torch.manual_seed(0)
    levels, images = 4, torch.randint(4, (400, 5))
    flow = logistic_flow(5)
    exact = exact_bits(flow, images, levels)
    results = [bits_per_dim(flow, images, levels=levels, samples=k) for k in (1, 16, 256)]
    assert results[0].bits > results[1].bits > results[2].bits > exact - 0.005
    assert results[2].bits == pytest.approx(exact, abs=0.01)
    assert results[0].bits - exact > 0.02


def test_padding_divides_by_the_real_pixels_only():
    flow = uniform_flow(16)
    images = torch.randint(256, (10, 16))
    assert bits_per_dim(flow, images, real_pixels=9).bits == pytest.approx(8 * 16 / 9)
    with pytest.raises(ValueError, match="1 to 16 real pixels, found 17"):
        bits_per_dim(flow, images, real_pixels=17)


def test_standard_error_is_that_of_a_mean():
    torch.manual_seed(0)
    images = torch.randint(256, (2000, 3))
    flow = Flow(Compose(Logit(0.05), Diagonal(3)), StandardNormal(3))
    many = [bits_per_dim(flow, chunk).bits for chunk in images.split(50)]
    claimed = bits_per_dim(flow, images[:50]).standard_error
    assert claimed == pytest.approx(torch.tensor(many).std().item(), rel=0.35)


@pytest.mark.parametrize(
    ("images", "levels", "error", "words"),
    [
        (torch.rand(3, 4), 256, TypeError, "integer images"),
        (torch.ones(3, 4, dtype=torch.bool), 256, TypeError, "integer images"),
        (torch.full((3, 4), 256), 256, ValueError, r"from 0 to 255 \(levels=256\), found 256 to 256"),
        (torch.full((3, 4), -1), 17, ValueError, "found -1"),
        (torch.zeros(3, 5, dtype=torch.long), 256, ValueError, "shape"),
        (torch.zeros(0, 4, dtype=torch.long), 256, ValueError, "at least 1 image"),
    ],
)
def test_bad_images_are_said_in_a_sentence(images, levels, error, words):
    with pytest.raises(error, match=words):
        bits_per_dim(uniform_flow(4), images, levels=levels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("levels", [2, 17, 256])
def test_dequantize_stays_in_its_cell(levels, dtype):
    x = torch.arange(levels, dtype=torch.uint8 if levels <= 256 else torch.long).repeat(500)
    y = dequantize(x, levels, torch.Generator().manual_seed(0), dtype)
    assert y.dtype == dtype
    assert y.min() >= 0
    assert y.max() < 1
    assert torch.equal(quantize(y, levels), x.long())
    cell = (y * levels - x).double()
    assert cell.mean().item() == pytest.approx(0.5, abs=0.02)
    assert cell.max() > 0.95
    assert cell.min() < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_ends_of_every_cell_belong_to_it(dtype):
    for levels in (*range(2, 300), 1024, 65_536):
        x = torch.arange(levels)
        for noise in (0.0, 1.0):
            y = place_in_cells(x, torch.full((levels,), noise, dtype=dtype), levels)
            assert torch.equal(quantize(y, levels), x)
            assert y.max() < 1


def test_too_many_levels_for_a_dtype_are_refused():
    with pytest.raises(ValueError, match=r"256 levels need more digits than torch\.bfloat16 has"):
        dequantize(torch.zeros(3, dtype=torch.uint8), 256, dtype=torch.bfloat16)


def test_each_image_is_scored_under_its_own_context():
    flow = build("glow", (1, 4, 4), levels=1, steps=1, channels=4, classes=3).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    images = torch.randint(5, (7, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    classes = torch.eye(3, dtype=torch.float64)[torch.arange(7) % 3][..., None, None]

    def bits(which, context, **options):
        return bits_per_dim(
            flow, images[which], 5, generator=torch.Generator().manual_seed(1), context=context, **options
        )

    whole = bits(slice(None), classes)
    assert bits(slice(None), classes, batch_size=2).bits == pytest.approx(whole.bits, abs=1e-12)
    assert abs(bits(slice(None), classes.roll(1, 0)).bits - whole.bits) > 1e-3
    with pytest.raises(ValueError, match="a context for each of 7 images, found 3"):
        bits(slice(None), classes[:3])
