"""The spline: smooth, increasing, the identity outside, finite for any parameters."""

import pytest
import torch

from course_flows.transforms import (
    MonotoneSpline,
)


def bent_spline(scale: float = 1.0, dtype=torch.float64, **kwargs) -> MonotoneSpline:
    spline = MonotoneSpline(3, **kwargs).to(dtype)
    with torch.no_grad():
        for p in spline.parameters():
            p.add_(scale * torch.randn_like(p))
    return spline


@torch.no_grad()
def test_spline_is_smooth_at_its_knots_and_the_identity_outside():
    spline = bent_spline(bins=5, bound=2.0)
    knots = spline._knots()[0]
    for left, right in ((knots - 1e-9, knots + 1e-9),):
        (z0, l0), (z1, l1) = spline(left.mT), spline(right.mT)
        torch.testing.assert_close(z0, z1, rtol=0, atol=1e-6)
        torch.testing.assert_close(l0, l1, rtol=0, atol=1e-5)
    at = knots.mT
    torch.testing.assert_close(spline.inverse(spline(at)[0])[0], at, rtol=0, atol=1e-9)
    far = torch.tensor([[-1e30, 5.0, 2.0], [2.5, -2.0, 1e30]], dtype=torch.float64)
    for direction in (spline, spline.inverse):
        z, log_det = direction(far)
        assert torch.equal(z, far)
        assert torch.equal(log_det, torch.zeros(2, dtype=torch.float64))
    x = torch.linspace(-3, 3, 2001, dtype=torch.float64)[:, None].expand(-1, 3)
    assert (spline(x)[0].diff(dim=0) > 0).all()


def test_spline_gradients_are_finite_outside_and_at_the_ends():
    x = torch.tensor([[-1e200, 5.0, -5.0], [7.0, 0.0, 1e200]], dtype=torch.float64, requires_grad=True)
    for direction in (bent_spline(), bent_spline().inverse):
        z, log_det = direction(x)
        (gradient,) = torch.autograd.grad(z.sum() + log_det.sum(), x)
        assert torch.isfinite(gradient).all()


@torch.no_grad()
def test_wild_splines_stay_finite():
    for _ in range(5):
        spline = bent_spline(10.0, torch.float32)
        x = torch.linspace(-6, 6, 4001)[:, None].expand(-1, 3)
        z, log_det = spline(x)
        for out in (z, log_det, *spline.inverse(z)):
            assert torch.isfinite(out).all()


def test_too_many_bins_are_refused():
    with pytest.raises(ValueError, match="bins"):
        MonotoneSpline(2, bins=1000)
