"""Hidden suite of the tiny exercise with which the grader is tested."""

import math

import pytest
import torch

from course_flows.grading.suite import (
    StudentError,
    assert_close,
    finite_difference_log_det,
    handle,
    property_of,
    scalar,
    tensor,
    total_mass,
)


@property_of("scale-density", "A negative factor has a density too.", hint_link="ch-mini")
@pytest.mark.parametrize("factor", [-2.5, 0.75])
def test_density(student, rng, factor):
    x = torch.randn(7, dtype=torch.float64, generator=rng)
    found = student.scale_log_density(x, factor, returns=tensor(7))
    zero = torch.zeros((), dtype=torch.float64)
    expected = torch.distributions.Normal(zero, zero + abs(factor)).log_prob(x)
    assert_close(found, expected, 1e-10, what="the log-density")


@property_of("scale-density", "A density has total mass one.")
def test_mass(student, rng):
    mass, error = total_mass(
        lambda x: student.scale_log_density(x, 1.5, returns=tensor(len(x))), 0, rng, samples=4000
    )
    assert abs(mass - 1) < 5 * error + 1e-6, f"the mass is {mass:.3f}"


@property_of("shift-module", "The shift is a parameter: z = x + shift with log-determinant 0.")
def test_module(student, rng):
    module = student.Shift(3, returns=handle())
    with pytest.raises(TypeError):
        bool(module)
    values = torch.randn(3, dtype=torch.float64, generator=rng)
    assert {name: p.shape for name, p in student.parameters(module).items()} == {"shift": (3,)}, "one parameter, shift"
    student.set_parameters(module, {"shift": values})
    x = torch.randn(5, 3, dtype=torch.float64, generator=rng)
    z, log_det = module.forward(x, returns=(tensor(5, 3), tensor(5)))
    assert_close(z, x + values, 1e-12, what="z")
    assert_close(log_det, torch.zeros(5, dtype=torch.float64), 0.0, what="the log-determinant")
    numeric = finite_difference_log_det(lambda p: module.forward(p, returns=(tensor(*p.shape), tensor(len(p))))[0], x)
    assert_close(log_det, numeric, 1e-9, what="the log-determinant")


@property_of("shift-module", "Gradients reach the shift.")
def test_gradients(student, rng):
    module = student.Shift(2, returns=handle())
    x = torch.randn(4, 2, dtype=torch.float64, generator=rng)
    found = student.gradients(module, "forward", x, output=0)
    assert_close(found["shift"], torch.full((2,), 4.0, dtype=torch.float64), 1e-12)
    slope = student.input_gradient(module.bound("forward"), x, wrt=0, output=0, returns=tensor(4, 2))
    assert_close(slope, torch.ones(4, 2, dtype=torch.float64), 1e-12)
    state = student.state_dict(module)
    student.load_state_dict(module, {"shift": state["shift"] + 1})
    assert_close(student.parameters(module)["shift"], torch.ones(2, dtype=torch.float64), 0.0)


@property_of("shift-module", "apply calls the function that it is given.")
def test_callables(student):
    double = student.define("def double(x):\n    return 2 * x + math.pi\n", "double")
    assert_close(student.apply(double, 3.0, returns=scalar()), 6 + math.pi, 1e-12)
    module = student.Shift(2, returns=handle())
    x = torch.ones(1, 2, dtype=torch.float64)
    z, _ = student.apply(module.bound("forward"), x, returns=(tensor(1, 2), tensor(1)))
    assert_close(z, x, 0.0)
    with pytest.raises(StudentError):
        student.apply(None, 1.0, returns=scalar())
