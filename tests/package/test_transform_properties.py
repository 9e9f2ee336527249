"""Properties that every transform has, in float64, over the table of constructors."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from constructors import CASES, Case
from torch.nn.utils.parametrize import is_parametrized

from course_flows.masked_linear import MaskedLinear

TOLERANCE = 1e-9


def over(cases: dict[str, Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases.values(), ids=cases.keys())


each = over(CASES)
trained = over({name: case for name, case in CASES.items() if list(case.transform().parameters())})
smooth = over({name: case for name, case in CASES.items() if case.smooth})


def jacobian_log_det(function, x: torch.Tensor) -> torch.Tensor:
    """log|det J| of one point by autograd, independent of what the transform says."""
    jacobian = torch.autograd.functional.jacobian(lambda v: function(v)[0], x)
    return torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel())).logabsdet


@each
def test_inverse_undoes_forward_and_log_dets_cancel(case: Case):
    transform, x = case.transform(), case.points(50)
    z, log_det = transform(x)
    back, inverse_log_det = transform.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=TOLERANCE)


@each
def test_log_det_equals_autograd_both_ways(case: Case):
    transform, x = case.transform(), case.points(6)
    z, log_det = transform(x)
    _, inverse_log_det = transform.inverse(z)
    for i in range(len(x)):
        assert log_det[i].item() == pytest.approx(jacobian_log_det(transform, x[i]).item(), abs=TOLERANCE)
        expected = jacobian_log_det(transform.inverse, z[i].detach()).item()
        assert inverse_log_det[i].item() == pytest.approx(expected, abs=TOLERANCE)


@each
def test_the_case_can_fail(case: Case):
    """A log-determinant near zero would let a wrong sign pass: each case is far from it, or keeps volume by design."""
    _, log_det = case.transform()(case.points(50))
    if case.keeps_volume:
        assert torch.equal(log_det, torch.zeros(50, dtype=torch.float64))
    else:
        assert log_det.abs().max() > 0.05


@each
@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)], ids=str)
def test_batch_shapes(case: Case, batch: tuple[int, ...]):
    transform, x = case.transform(), case.points(*batch)
    z, log_det = transform(x)
    assert z.shape == x.shape or (not case.keeps_shape and z.shape[: len(batch)] == batch and z.numel() == x.numel())
    assert log_det.shape == batch
    back, inverse_log_det = transform.inverse(z)
    assert back.shape == x.shape
    assert inverse_log_det.shape == batch


@each
def test_points_do_not_see_their_batch(case: Case):
    transform, x = case.transform(), case.points(8)
    z, log_det = transform(x)
    alone = [transform(x[i : i + 1]) for i in range(8)]
    torch.testing.assert_close(torch.cat([a[0] for a in alone]), z, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(torch.cat([a[1] for a in alone]), log_det, rtol=0, atol=TOLERANCE)


@trained
def test_gradients_reach_every_parameter(case: Case):
    for direction in ("forward", "inverse"):
        transform = case.transform()
        out, log_det = getattr(transform, direction)(
            case.points(20) if direction == "forward" else transform(case.points(20))[0].detach()
        )
        uneven = torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype).reshape(out.shape)  # sees rotations too
        ((uneven * out.square()).sum() + log_det.sum()).backward()
        masked = {f"{n}.weight": ~m.mask for n, m in transform.named_modules() if isinstance(m, MaskedLinear)}
        for name, parameter in transform.named_parameters():
            assert parameter.grad is not None, f"{direction}: no gradient for {name}"
            assert torch.isfinite(parameter.grad).all(), f"{direction}: gradient of {name} is not finite"
            reached = parameter.grad != 0
            idle = masked.get(name, torch.zeros_like(reached))
            assert torch.equal(reached, ~idle), f"{direction}: some entries of {name} have no effect"


@smooth
def test_gradients_of_the_log_det_are_exact(case: Case):
    transform, x = case.transform(), case.points(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: transform(v)[1] + transform(v)[0].sum(), (x,), atol=1e-6)


@each
def test_state_dict_restores_the_map_bit_for_bit(case: Case):
    original, x = case.transform(seed=0), case.points(10)
    other = case.transform(seed=5)
    other.load_state_dict(copy.deepcopy(original.state_dict()))
    for a, b in zip(original(x), other(x), strict=True):
        assert torch.equal(a, b)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_dtype_follows_the_input(case: Case, dtype: torch.dtype):
    transform, x = case.transform().to(dtype), case.points(5).to(dtype)
    for out in (*transform(x), *transform.inverse(transform(x)[0])):
        assert out.dtype == dtype


@each
def test_runs_on_another_device(case: Case):
    """The meta device has no numbers, but it fails where a constant was left on the CPU."""
    transform, x = case.transform().to("meta"), case.points(5).to("meta")
    z, log_det = transform(x)
    assert z.device.type == log_det.device.type == "meta"
    assert transform.inverse(z)[0].device.type == "meta"


@each
def test_repr_is_readable(case: Case):
    transform = case.transform()
    text = repr(transform)
    assert type(transform).__name__ in text
    assert "object at 0x" not in text


@each
def test_copies_are_equal_and_independent(case: Case):
    transform, x = case.transform(), case.points(5)
    before = [out.detach().clone() for out in transform(x)]
    other = copy.deepcopy(transform)
    for a, b in zip(other(x), before, strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    for a, b in zip(transform(x), before, strict=True):
        assert torch.equal(a, b)


# torch itself refuses to pickle parametrized weights
@over({name: c for name, c in CASES.items() if not any(map(is_parametrized, c.transform().modules()))})
def test_pickling_keeps_the_map(case: Case):
    transform, x = case.transform(), case.points(5)
    for a, b in zip(pickle.loads(pickle.dumps(transform))(x), transform(x), strict=True):
        assert torch.equal(a, b)


@each
@pytest.mark.filterwarnings("ignore:torch.searchsorted")  # about memory layout inside vmap
def test_jacobians_by_torch_func(case: Case):
    """`vmap` and `jacrev` go through every transform and agree with the determinant that it says."""
    transform, x = case.transform(), case.points(3)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda v: transform(v)[0]))(x).detach()
    size = x[0].numel()
    expected = torch.linalg.slogdet(jacobians.reshape(3, size, size)).logabsdet
    torch.testing.assert_close(transform(x)[1].detach(), expected, rtol=0, atol=TOLERANCE)


@over({name: case for name, case in CASES.items() if len(case.event) == 3})
def test_memory_format_does_not_matter(case: Case):
    transform, x = case.transform(), case.points(3)
    for a, b in zip(transform(x.contiguous(memory_format=torch.channels_last)), transform(x), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE)
    z = transform(x)[0].detach()
    back = transform.inverse(z.contiguous(memory_format=torch.channels_last))[0]
    torch.testing.assert_close(back, x, rtol=0, atol=TOLERANCE)
