"""Coupling layers: what is kept, how far the scale goes, and which networks fit."""

import pytest
import torch

from course_flows.transforms import (
    AffineCoupling,
)


def test_the_log_scale_is_bounded_and_the_first_half_is_kept():
    for flip in (False, True):
        flow = AffineCoupling.mlp(5, (8,), flip=flip, bound=2.0).double()
        with torch.no_grad():
            flow.net.layers[-1].bias[: flow.partition.moved.numel()] = 1e3
        x = torch.randn(7, 5, dtype=torch.float64)
        z, log_det = flow(x)
        kept = slice(2, 5) if flip else slice(0, 2)
        assert torch.equal(z[:, kept], x[:, kept])
        torch.testing.assert_close(log_det, torch.full((7,), 2.0 * flow.partition.moved.numel(), dtype=torch.float64))


def test_a_network_of_the_wrong_width_is_refused():
    for out in (2, 3, 6):
        flow = AffineCoupling([True, False, True, False], torch.nn.Linear(2, out))
        with pytest.raises(ValueError, match=rf"shape \(3, 4\), found \(3, {out}\)"):
            flow(torch.zeros(3, 4))


def test_log_dets_keep_full_precision_under_autocast():
    flow, x = AffineCoupling.mlp(4), torch.randn(3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert {out.dtype for out in flow(x)} == {torch.float32}
