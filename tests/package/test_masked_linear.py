"""Layers without some of their weights: the one in strips is the masked one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from course_flows.made import MADE
from course_flows.masked_linear import MaskedLinear, StripedLinear, strips_of

TALL = torch.arange(23)[:, None] * 11 // 23 >= torch.arange(11)  # like the first layer of a MADE
MASKS = {
    "ascending": TALL,
    "descending": TALL.flip(1),
    "upside down": TALL.flip(0),
    "twice": torch.cat([TALL, TALL]),
    "first rows empty": torch.ones(9, 7).tril(-4).bool(),
    "all there": torch.ones(6, 5).bool(),
}


def pair(mask: Tensor, height: int) -> tuple[MaskedLinear, StripedLinear]:
    """Build both layers from the same random numbers."""
    torch.manual_seed(0)
    masked = MaskedLinear(mask)
    torch.manual_seed(0)
    return masked.double(), StripedLinear(mask, height).double()


@pytest.mark.parametrize("height", [1, 4, 23, 100])
@pytest.mark.parametrize("name", MASKS)
def test_strips_give_the_values_and_gradients_of_the_mask(name, height):
    mask = MASKS[name]
    masked, striped = pair(mask, height)
    torch.testing.assert_close(striped.masked_weight(), masked.masked_weight(), rtol=0, atol=0)
    x = torch.randn(3, 4, mask.shape[1], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(striped(x), masked(x))
    g = torch.randn(3, 4, mask.shape[0], dtype=torch.float64)
    of_x, of_bias = torch.autograd.grad(masked(x), (x, masked.bias), g)
    found_x, found_bias, of_weight = torch.autograd.grad(striped(x), (x, striped.bias, striped.weight), g)
    torch.testing.assert_close(found_x, of_x)
    torch.testing.assert_close(found_bias, of_bias)
    with torch.no_grad():
        striped.weight.copy_(of_weight)
    expected = torch.einsum("...o,...i->oi", g, x) * mask
    torch.testing.assert_close(striped.masked_weight().detach(), expected.detach())


def test_second_derivatives_and_transforms_of_functions():
    _, striped = pair(TALL, 5)
    x = torch.randn(3, 11, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(striped, {"weight": weight}, (x,)).sin()

    assert torch.autograd.gradcheck(run, (x, striped.weight))
    assert torch.autograd.gradgradcheck(run, (x, striped.weight))
    jacobians = torch.func.vmap(torch.func.jacrev(striped))(x)
    torch.testing.assert_close(jacobians, striped.masked_weight().expand(3, -1, -1))


def test_half_of_the_weights_are_stored():
    mask = torch.ones(800, 800).tril().bool()
    striped = StripedLinear(mask, 100)
    assert len(striped.weight) == 100 * sum(range(100, 900, 100))  # 8 strips, 56 %
    assert sum(p.numel() for p in striped.parameters()) == len(striped.weight) + 800


def test_missing_weights_stay_away_whatever_is_written():
    """Noise on all stored numbers, past the version counter too, must not let an output see what it may not."""
    _, striped = pair(TALL, 5)
    striped.weight.data += 1
    x = torch.randn(11, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(striped, x)
    assert not jacobian[~TALL].any()
    assert jacobian[TALL].all()
    assert not striped.masked_weight()[~TALL].any()


def test_masks_that_have_no_such_form_are_refused():
    shuffled = TALL[:, torch.randperm(11, generator=torch.Generator().manual_seed(0))]
    assert strips_of(shuffled, 5) is None
    with pytest.raises(ValueError, match="strips of 5 rows, found another"):
        StripedLinear(shuffled, 5)
    striped = StripedLinear(TALL, 5)
    with pytest.raises(ValueError, match="strips of 5 rows, found another"):
        striped.set_mask(TALL.T)
    with pytest.raises(ValueError, match="weights, found"):
        striped.set_mask(torch.ones(23, 11).bool())


@pytest.fixture
def big() -> MADE:
    torch.manual_seed(0)
    return MADE(520, 2, (530,), order=torch.arange(520).flip(0)).double()


def test_a_large_made_runs_in_strips(big):
    assert all(isinstance(stage.layer, StripedLinear) for stage in big.stages())
    x = torch.randn(2, 520, dtype=torch.float64)
    changed = x.clone()
    changed[:, 200] += 1
    moved = (big(x) != big(changed)).unflatten(1, (2, 520)).any(dim=1)
    assert not moved[:, 200:].any()  # reversed: what comes before 200 in the data comes after it in the order
    assert moved[:, :200].any(dim=1).all()


def test_a_saved_made_in_strips_comes_back(big):
    torch.manual_seed(1)
    other = MADE(520, 2, (530,)).double()  # of another order: masks follow what is loaded
    other.load_state_dict(copy.deepcopy(big.state_dict()))
    x = torch.randn(2, 520, dtype=torch.float64)
    assert torch.equal(other(x), big(x))


def test_a_random_order_takes_masks():
    order = torch.randperm(520, generator=torch.Generator().manual_seed(0))
    net = MADE(520, 2, (530,), order=order)
    assert all(isinstance(stage.layer, MaskedLinear) for stage in net.stages())


@pytest.mark.parametrize("height", [10, 32])  # with edges inside of the strips
def test_gradients_with_weights_that_are_lent_are_those_of_the_matrix(height):
    layer = StripedLinear(torch.ones(40, 40).tril().bool(), height).double()
    lent = torch.randn_like(layer.weight).requires_grad_()  # also where no weights are
    x = torch.randn(3, 40, dtype=torch.float64, requires_grad=True)
    found = torch.func.functional_call(layer, {"weight": lent}, (x,))
    expected = torch.nn.functional.linear(x, layer.masked_weight(lent), layer.bias)
    for a, b in zip(*(torch.autograd.grad(out.sin().sum(), (x, lent)) for out in (found, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_normalized_weights_in_strips_leave_outputs_autoregressive():
    net = MADE(7, 2, (260, 260), activation="tanh").double()
    assert isinstance(net.layers[1], StripedLinear)
    net.layers[1].weight.data.normal_()
    torch.nn.utils.parametrizations.weight_norm(net.layers[1], "weight")
    x = torch.randn(7, dtype=torch.float64)
    first, second = torch.autograd.functional.jacobian(net, x).chunk(2)
    assert not first.triu().any()
    assert not second.triu().any()


def test_a_matrix_of_weights_is_taken_into_strips():
    torch.manual_seed(0)
    striped = StripedLinear(TALL, 5).double()
    weight, bias = torch.randn(23, 11, dtype=torch.float64), torch.randn(23, dtype=torch.float64)
    state = {"weight": weight, "bias": bias}
    striped.load_state_dict(state)
    assert list(state) == ["weight", "bias"]
    assert state["weight"] is weight
    torch.testing.assert_close(striped.masked_weight(), weight * TALL, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        striped.load_state_dict({"weight": weight.T, "bias": bias})


def test_a_saved_matrix_of_another_order_is_cut_at_its_own_columns():
    torch.manual_seed(0)
    net, other = MADE(256, 2, (300,), order=range(256)[::-1]), MADE(256, 2, (300,))
    assert isinstance(net.layers[0], StripedLinear)
    state = net.state_dict()
    for stage, name in zip(net.stages(), ("layers.0", "last"), strict=True):
        state[f"{name}.weight"] = stage.layer.masked_weight().detach()
    other.load_state_dict(state)
    x = torch.randn(3, 256)
    torch.testing.assert_close(other(x), net(x))
