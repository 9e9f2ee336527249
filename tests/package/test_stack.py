"""A stack of couplings is the composition of its couplings."""

import pytest
import torch

from course_flows import Compose
from course_flows.nets import MLP
from course_flows.transforms import (
    AdditiveCoupling,
    AffineCoupling,
    CouplingStack,
    Diagonal,
    alternating_mask,
    checkerboard_mask,
)


def couplings(count: int = 5) -> list[AffineCoupling]:
    return [
        AffineCoupling(alternating_mask(5, flip=k % 3 == 1), MLP(2 if k % 3 == 1 else 3, 4 if k % 3 != 1 else 6, (8,)))
        for k in range(count)
    ]


def test_it_is_the_composition_bit_for_bit_and_with_equal_gradients():
    layers = couplings()
    plain, stack = Compose(layers).double(), CouplingStack(layers).double()
    x = torch.randn(20, 5, dtype=torch.float64)
    z, log_det = plain(x)
    assert log_det.abs().max() > 0.1
    for a, b in zip((*stack(x), *stack.inverse(z)), (z, log_det, *plain.inverse(z)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
    found = []
    for flow in (plain, stack):
        flow.zero_grad()
        z, log_det = flow(x)
        (z.square().sum() + log_det.square().sum()).backward()
        found.append([p.grad.clone() for p in flow.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_an_empty_stack_is_the_identity():
    x = torch.randn(3, 4)
    z, log_det = CouplingStack()(x)
    assert torch.equal(z, x)
    assert log_det.abs().max() == 0


def test_it_refuses_what_does_not_exchange_two_parts():
    with pytest.raises(TypeError, match="expects couplings, found Diagonal"):
        CouplingStack(Diagonal(4))
    thirds = AdditiveCoupling([True, False, False], torch.nn.Linear(1, 2))
    other = AdditiveCoupling([False, True, False], torch.nn.Linear(1, 2))
    with pytest.raises(ValueError, match=r"complement, found \[True, False, False\] and \[False, True, False\]"):
        CouplingStack(thirds, other)
    with pytest.raises(ValueError, match="masks of coordinates or channels"):
        CouplingStack(AdditiveCoupling(checkerboard_mask(2, 2), torch.nn.Identity()))


def test_masks_that_are_loaded_must_fit_too():
    stack = CouplingStack(AdditiveCoupling([True, False, False], torch.nn.Linear(1, 2)))
    two = CouplingStack(
        AdditiveCoupling([True, False, False], torch.nn.Linear(1, 2)),
        AdditiveCoupling([True, False, False], torch.nn.Linear(1, 2)),
    )
    state = two.state_dict()
    state["transforms.1.partition.mask"] = torch.tensor([False, True, False])
    with pytest.raises(ValueError, match="each other's complement"):
        two.load_state_dict(state)
    stack.load_state_dict(stack.state_dict())
