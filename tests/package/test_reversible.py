"""Reversible stacks: the gradients of a plain stack, without the memory of one."""

from __future__ import annotations

import copy

import pytest
import torch
from constructors import conv
from torch import Tensor, nn

from course_flows import Compose, Flow
from course_flows.distributions import StandardNormal
from course_flows.nets import MLP
from course_flows.transforms import (
    AffineCoupling,
    BatchNorm,
    LeakyReLU,
    LULinear,
    MultiScale,
    ReversibleCompose,
    Squeeze,
    Transform,
    channel_mask,
    checkerboard_mask,
    half_mask,
)


class ScalarScale(Transform):
    """z = x · exp(s) with one learned s for all values: its log-determinant has a gradient and the shape of x."""

    event_ndim = 0

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, context=None):
        return x * self.log_scale.exp(), self.log_scale.expand(x.shape)

    def inverse(self, z, context=None):
        return z * (-self.log_scale).exp(), (-self.log_scale).expand(z.shape)


def couplings(depth: int, context: int = 0, features: int = 4) -> list[Transform]:
    layers: list[Transform] = []
    for k in range(depth):
        net = MLP(features // 2, features, (8,), context_features=context)
        layers += [AffineCoupling(half_mask(features, flip=bool(k % 2)), net), LULinear(features, seed=k)]
    return [*layers, LeakyReLU(0.5, event_ndim=0), ScalarScale()]


def twins(layers: list[Transform]) -> tuple[Compose, ReversibleCompose]:
    layers = [layer.double() for layer in layers]
    return Compose(copy.deepcopy(layers)), ReversibleCompose(copy.deepcopy(layers))


def results(stack: Transform, x: Tensor, context: Tensor | None = None) -> list[Tensor | None]:
    """Values, then the gradients of a loss that weighs all outputs differently: of points, context and parameters."""
    x = x.clone().detach().requires_grad_(x.requires_grad)
    if context is not None:
        context = context.clone().detach().requires_grad_(context.requires_grad)
    z, log_det = stack(x, context)
    weights = torch.linspace(-1, 2, z.numel(), dtype=z.dtype).reshape(z.shape)
    loss = (z.square() * weights).sum() + (log_det * torch.arange(1.0, log_det.numel() + 1)).sum()
    if loss.requires_grad:
        loss.backward()
    leaves = [x, *([] if context is None else [context]), *stack.parameters()]
    return [z.detach(), log_det.detach(), *(None if leaf.grad is None else leaf.grad for leaf in leaves)]


def assert_same(plain: list[Tensor | None], reversible: list[Tensor | None]) -> None:
    for a, b in zip(plain, reversible, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert (a - b).norm() <= 1e-9 * a.norm()
    assert torch.equal(plain[0], reversible[0])
    assert torch.equal(plain[1], reversible[1])


@pytest.mark.parametrize("points", [True, False], ids=["x with gradient", "x without"])
@pytest.mark.parametrize("context", [None, True, False], ids=["no context", "context with gradient", "context without"])
@pytest.mark.parametrize("trained", ["all", "some", "none"])
def test_gradients_equal_those_of_a_plain_stack(points: bool, context: bool | None, trained: str):
    plain, reversible = twins(couplings(4, context=0 if context is None else 3))
    for stack in (plain, reversible):
        for k, p in enumerate(stack.parameters()):
            p.requires_grad_(trained == "all" or (trained == "some" and k % 3 == 0))
    x = torch.randn(6, 4, dtype=torch.float64).requires_grad_(points)
    c = None if context is None else torch.randn(6, 3, dtype=torch.float64).requires_grad_(context)
    found = results(plain, x, c), results(reversible, x, c)
    assert_same(*found)
    if points or context or trained != "none":
        assert any(gradient is not None for gradient in found[0][2:])


def test_one_output_alone_carries_gradients():
    for output in (0, 1):
        plain, reversible = twins(couplings(3))
        x = torch.randn(5, 4, dtype=torch.float64)
        for stack in (plain, reversible):
            stack(x)[output].sum().backward()
        for a, b in zip(plain.parameters(), reversible.parameters(), strict=True):
            expected = torch.zeros_like(a) if a.grad is None else a.grad
            assert (expected - b.grad).norm() <= 1e-9 * expected.norm()


def test_a_layer_that_is_used_twice_gets_both_gradients():
    shared = LULinear(4)
    plain, reversible = twins([shared, *couplings(2)])
    plain, reversible = (type(s)([s[0], *list(s)[1:], s[0]]) for s in (plain, reversible))
    x = torch.randn(5, 4, dtype=torch.float64)
    assert_same(results(plain, x), results(reversible, x))


def image_levels(stack: type[Compose]) -> MultiScale:
    torch.manual_seed(0)
    checkers = [AffineCoupling(checkerboard_mask(4, 4, flip=bool(k)), conv(1, 2)) for k in range(2)]
    channels = [AffineCoupling(channel_mask(4, flip=bool(k)), conv(2, 4)) for k in range(2)]
    last = [AffineCoupling(checkerboard_mask(2, 2, flip=bool(k)), conv(2, 4)) for k in range(2)]
    model = MultiScale([stack([*checkers, Squeeze(), *channels]), stack(last)]).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return model


def test_inside_a_multi_scale_model():
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64)
    assert_same(results(image_levels(Compose), x), results(image_levels(ReversibleCompose), x))


def test_several_backward_passes():
    _, stack = twins(couplings(3))
    z, log_det = stack(torch.randn(5, 4, dtype=torch.float64))
    loss = z.square().sum() - log_det.sum()
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in stack.parameters()]
    loss.backward()
    for p, first in zip(stack.parameters(), once, strict=True):
        torch.testing.assert_close(p.grad, 2 * first, rtol=1e-12, atol=0)


def test_weights_that_changed_before_the_backward_pass_are_refused():
    _, stack = twins(couplings(2))
    loss = stack(torch.randn(5, 4, dtype=torch.float64))[0].square().sum()
    with torch.no_grad():
        next(stack.parameters()).mul_(1.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_second_derivatives_are_refused():
    _, stack = twins(couplings(1))
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(stack(x)[0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


@pytest.mark.parametrize(
    "layer",
    [
        BatchNorm(4),
        AffineCoupling(half_mask(4), nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4))),
        AffineCoupling(half_mask(4), nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.1))),
        AffineCoupling(half_mask(4), nn.Sequential(nn.Linear(2, 4), nn.AlphaDropout(0.1))),
    ],
    ids=["BatchNorm", "batch norm in the net", "dropout in the net", "another dropout"],
)
def test_what_changes_in_training_is_refused_there_and_there_only(layer: Transform):
    stack = ReversibleCompose(layer)
    with pytest.raises(ValueError, match="batch normalization or dropout: leave it out, or use Compose"):
        stack(torch.zeros(3, 4))
    plain = Compose(copy.deepcopy(layer)).double().eval()
    x = torch.randn(3, 4, dtype=torch.float64)
    assert_same(results(plain, x), results(stack.double().eval(), x))


def saved_bytes(stack: Transform, x: Tensor) -> int:
    """Bytes that autograd keeps for the backward pass, without the parameters."""
    parameters = {p.data_ptr() for p in stack.parameters()}
    seen: dict[tuple[int, int], int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in parameters:
            seen[tensor.data_ptr(), tensor._version] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        z, log_det = stack(x)
        kept = z, log_det  # nothing may reuse the memory of what was saved
    del kept
    return sum(seen.values())


def test_activation_memory_does_not_grow_with_depth():
    x = torch.randn(64, 4, dtype=torch.float64)
    plain, reversible = [], []
    for depth in (4, 16):
        a, b = twins(couplings(depth))
        plain.append(saved_bytes(a, x))
        reversible.append(saved_bytes(b, x))
    assert reversible[0] == reversible[1] == x.numel() * x.element_size()
    assert plain[1] > 3 * plain[0]


@pytest.mark.parametrize("inside", [False, True], ids=["backward outside", "backward inside"])
def test_gradients_under_autocast_follow_the_precision_of_the_forward_pass(inside: bool):
    """Recomputed in another precision, the inverse would miss the input; a cached cast would have no gradient."""
    layers = [AffineCoupling(half_mask(4, flip=bool(k % 2)), MLP(2, 4, (16,))) for k in range(6)]
    for layer in layers:
        torch.nn.init.normal_(layer.net.layers[-1].weight)
    plain, reversible = Compose(copy.deepcopy(layers)), ReversibleCompose(copy.deepcopy(layers))
    x = torch.randn(32, 4)
    for stack in (plain, reversible):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z, log_det = stack(x)
            loss = z.square().mean() - log_det.mean()
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
    for a, b in zip(plain.parameters(), reversible.parameters(), strict=True):
        assert (a.grad - b.grad).norm() <= 0.02 * a.grad.norm()
        assert a.grad.norm() > 0


def test_inside_torch_func_it_is_a_plain_stack():
    plain, reversible = twins(couplings(2))
    x = torch.randn(3, 4, dtype=torch.float64)
    found, expected = (torch.func.vmap(torch.func.jacrev(lambda v, s=s: s(v)[0]))(x) for s in (reversible, plain))
    assert torch.equal(found, expected)


def test_training_a_flow_takes_the_same_path():
    torch.manual_seed(0)
    start = couplings(2)
    x = torch.randn(50, 4, dtype=torch.float64)
    ends = []
    for stack in twins(start):
        flow = Flow(stack, StandardNormal(4)).double()
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
        for _ in range(5):
            optimizer.zero_grad()
            (-flow.log_prob(x).mean()).backward()
            optimizer.step()
        ends.append(flow.log_prob(x).mean().item())
    assert ends[0] == pytest.approx(ends[1], abs=1e-9)
