"""Logit and dequantization at their edges, and what bits_per_dim leaves behind."""

import math

import pytest
import torch

from course_flows import Compose, Flow, Transform, bits_per_dim, dequantize, quantize
from course_flows.distributions import StandardLogistic, StandardNormal, StandardUniform
from course_flows.transforms import (
    Diagonal,
    LeakyReLU,
    Logit,
)


def test_logit_refuses_both_sides():
    for bad in (-0.2, 1.2):
        with pytest.raises(ValueError, match=r"numbers in \[0, 1\]"):
            Logit(0.05)(torch.tensor([[0.5, bad]]))


def test_dequantize_uses_its_generator():
    x = torch.full((10,), 255, dtype=torch.uint8)
    torch.manual_seed(1)
    first = dequantize(x, 256, torch.Generator().manual_seed(0))
    torch.manual_seed(2)
    assert torch.equal(first, dequantize(x, 256, torch.Generator().manual_seed(0)))


def test_dequantize_stays_in_its_cell_for_the_largest_noise(monkeypatch):
    largest = 1 - 2**-24
    monkeypatch.setattr(torch, "rand", lambda shape, dtype, **_: torch.full(shape, largest, dtype=dtype))
    every = torch.arange(256)
    y = dequantize(every, 256, dtype=torch.float32)
    assert y.max() < 1
    assert torch.equal(quantize(y), every)


def test_quantize_brings_back_what_left_the_cube():
    assert quantize(torch.tensor([-0.1, 0.0, 0.999, 1.0, 1.3]), 4).tolist() == [0, 0, 3, 3, 3]


class ShiftedInTraining(Transform):
    """A map that differs between training and evaluation."""

    def forward(self, x, context=None):
        return x + 5.0 * self.training, x.new_zeros(x.shape[:-1])


def test_bits_per_dim_is_reproducible_and_leaves_no_trace():
    torch.manual_seed(0)
    images = torch.randint(256, (30, 4))
    flow = Flow(Compose(Logit(0.05), Diagonal(4), ShiftedInTraining()), StandardNormal(4))
    results = []
    for training, batch_size in ((True, 512), (False, 512)):
        flow.train(training)
        generator = torch.Generator().manual_seed(1)
        results.append(bits_per_dim(flow, images, samples=2, generator=generator, batch_size=batch_size))
        assert flow.training is training
    assert results[0] == results[1]
    assert (results[0].images, results[0].samples, results[0].dimensions) == (30, 2, 4)
    assert bits_per_dim(flow, images, real_pixels=3).dimensions == 3
    assert results[0].nats == pytest.approx(-results[0].bits * 4 * math.log(2))
    assert math.isnan(bits_per_dim(flow, images[:1]).standard_error)
    assert str(results[0]).endswith("bits/dim (30 images, 2 samples)")
    with pytest.raises(ValueError, match="found 30 images and 0 samples"):
        bits_per_dim(flow, images, samples=0)


def test_a_flow_scores_its_own_samples():
    flow = Flow(Compose(Logit(0.05), Diagonal(2)), StandardLogistic(2)).double()
    x, log_prob = flow.rsample_and_log_prob(2000)
    torch.testing.assert_close(flow.log_prob(x), log_prob, rtol=0, atol=1e-6)
    ends = torch.tensor([[0.0, 1.0]])
    tight = Flow(Logit(1e-6), StandardNormal(2))
    torch.testing.assert_close(tight.encode(tight.decode(tight.encode(ends))), tight.encode(ends), rtol=0, atol=1.0)
    z = tight.encode(ends)
    torch.testing.assert_close(z[0, 0], -z[0, 1], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="expects numbers in"):
        Logit(0.0)(ends)


def test_bits_per_dim_takes_one_batch_dimension():
    flow = Flow(LeakyReLU(1.0), StandardUniform(4))
    for shape in ((4,), (3, 5, 4)):
        with pytest.raises(ValueError, match=r"shape \(N, 4\)"):
            bits_per_dim(flow, torch.zeros(shape, dtype=torch.long))
