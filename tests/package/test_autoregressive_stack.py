"""Layers of MAF and IAF in a stack are those of `Compose`, and a solver that is kept never serves what has changed."""

import copy
import math
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from autograd_graph import nodes_behind

from course_flows.made import MADE
from course_flows.masked_linear import MaskedLinear, StripedLinear
from course_flows.models import iaf, maf
from course_flows.transforms import (
    AutoregressiveStack,
    Compose,
    Diagonal,
    InverseAutoregressive,
    MaskedAutoregressive,
)
from course_flows.transforms.coupling import Tanh

KINDS = {"MAF": (MaskedAutoregressive, "forward"), "IAF": (InverseAutoregressive, "inverse")}
each_kind = pytest.mark.parametrize(("kind", "direction"), KINDS.values(), ids=KINDS)


def layers_of(kind, features=5, hidden=(12, 9), count=3, **options):
    torch.manual_seed(0)
    parts = []
    for k in range(count):
        order = torch.arange(features).flip(0) if k % 2 else None
        part = kind(MADE(features, 2, hidden, order, **options), bound=1.5).double()
        with torch.no_grad():
            for p in part.parameters():
                p.add_(0.4 * torch.randn_like(p) / p.shape[-1] ** 0.5)
        parts.append(part)
    return parts


@each_kind
@pytest.mark.parametrize("hidden", [(12, 9), (260, 260)], ids=["masks", "strips"])
def test_a_stack_is_the_composition_of_its_layers(kind, direction, hidden):
    parts = layers_of(kind, hidden=hidden)
    x = torch.randn(3, 7, 5, dtype=torch.float64, requires_grad=True)
    leaves = [x, *(p for part in parts for p in part.parameters())]
    found = []
    for flow in (Compose(parts), AutoregressiveStack(parts)):
        z, log_det = getattr(flow, direction)(x)
        assert log_det.abs().max() > 0.05
        assert nodes_behind(z).count("_FusedBackward") == (len(parts) if type(flow) is Compose else 1)
        first = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), leaves)
        z, log_det = getattr(flow, direction)(x)
        again = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in again), leaves)
        with torch.no_grad():
            without = getattr(flow, direction)(x)
        back = getattr(flow, "inverse" if direction == "forward" else "forward")(z.detach())
        torch.testing.assert_close(back[0], x.detach(), rtol=1e-9, atol=1e-9)
        found.append([z, log_det, *without, *first, *again, *second, *back])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_the_strips_of_the_test_above_are_strips():
    (part,) = layers_of(MaskedAutoregressive, hidden=(260, 260), count=1)
    assert [type(stage.layer) for stage in part.net.stages()] == [MaskedLinear, StripedLinear, MaskedLinear]


@each_kind
@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_a_frozen_layer_gets_no_gradient_and_the_others_keep_theirs(kind, direction, frozen):
    flow = AutoregressiveStack(layers_of(kind))
    x = torch.randn(6, 5, dtype=torch.float64)
    sum(part.sum() for part in getattr(flow, direction)(x)).backward()
    wanted = [None if k == frozen else p.grad for k, part in enumerate(flow) for p in part.parameters()]
    flow.zero_grad()
    flow[frozen].requires_grad_(False)
    sum(part.sum() for part in getattr(flow, direction)(x)).backward()
    for a, b in zip(wanted, flow.parameters(), strict=True):
        assert (a is None) == (b.grad is None)
        if a is not None:
            torch.testing.assert_close(a, b.grad, rtol=0, atol=0)


@each_kind
def test_a_stack_calls_layers_that_somebody_watches(kind, direction):
    flow, seen = AutoregressiveStack(layers_of(kind)), []
    x = torch.randn(4, 5, dtype=torch.float64)
    expected = getattr(flow, direction)(x)
    net = flow[1].net if kind is MaskedAutoregressive else flow[1].transform.net
    net.register_forward_hook(lambda *_: seen.append(1))
    torch.testing.assert_close(getattr(flow, direction)(x), expected, rtol=1e-12, atol=1e-12)
    assert seen == [1]


def test_large_batches_go_through_a_stack_in_parts():
    flow = AutoregressiveStack(layers_of(MaskedAutoregressive))
    x = torch.randn(2, 2500, 5, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow(x)
        for a, b in zip(Compose(*flow)(x), (z, log_det), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_large_batch_is_whole_for_whoever_looks_at_it():
    (flow,), (other,), seen = layers_of(MaskedAutoregressive, 5, (12,), 1), layers_of(MaskedAutoregressive, count=1), []
    x = torch.randn(2500, 5, dtype=torch.float64)
    flow.net.activation = torch.nn.BatchNorm1d(12).double()  # looks at the whole batch
    expected = flow(x)
    with torch.no_grad():
        for a, b in zip(flow(x), expected, strict=True):
            torch.testing.assert_close(a, b)
    other.net.register_forward_hook(lambda _, points, __: seen.append(len(points[0])))
    with torch.no_grad():
        other(x)
    assert seen == [2500]


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # shapes are constants of a trace
@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning")  # torch's own
def test_a_trace_does_not_hold_on_to_the_size_of_a_batch():
    flow = AutoregressiveStack(layers_of(MaskedAutoregressive))
    with torch.no_grad():
        traced = torch.jit.trace(flow, torch.randn(6, 5, dtype=torch.float64), check_trace=False)
        x = torch.randn(9, 5, dtype=torch.float64)
        torch.testing.assert_close(traced(x), flow(x), rtol=1e-12, atol=1e-12)


def test_a_stack_takes_layers_of_one_kind():
    a, b = layers_of(MaskedAutoregressive, count=1), layers_of(InverseAutoregressive, count=1)
    for parts in ([*a, *b], [*a, Diagonal(5)]):
        with pytest.raises(TypeError, match="expects layers that are all MaskedAutoregressive or all Inverse"):
            AutoregressiveStack(parts)
    z, log_det = AutoregressiveStack()(torch.ones(2, 5))
    assert torch.equal(z, torch.ones(2, 5))
    assert torch.equal(log_det, torch.zeros(2))


def test_models_without_norms_are_stacks():
    assert type(maf(3, layers=2, hidden=(4,), norm=None).transform) is AutoregressiveStack
    assert type(iaf(3, layers=2, hidden=(4,)).transform) is AutoregressiveStack
    assert type(maf(3, layers=2, hidden=(4,)).transform) is Compose


class Doubling(MaskedAutoregressive):
    def forward(self, x, context=None):
        z, log_det = super().forward(x, context)
        return 2 * z, log_det + x.shape[-1] * math.log(2.0)


@each_kind
@pytest.mark.parametrize("what", ["added", "replaced by a subclass", "read backwards"])
def test_a_stack_runs_what_was_put_among_its_layers(kind, direction, what):
    flow = AutoregressiveStack(layers_of(kind))
    if what == "added":
        flow.transforms.append(Diagonal(5).double())
        with torch.no_grad():
            flow[-1].log_scale.fill_(0.5)
    elif what == "replaced by a subclass":
        other = Doubling(MADE(5, 2, (6,))).double()
        if kind is MaskedAutoregressive:
            flow.transforms[1] = other
        else:
            flow[1].transform = other
    elif kind is InverseAutoregressive:
        flow[1].transform = Diagonal(5).double()
    else:
        flow.transforms[1] = InverseAutoregressive(MADE(5, 2, (6,))).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    found, expected = getattr(flow, direction)(x), getattr(Compose(*flow), direction)(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_layers_that_share_weights_leave_them_to_each_other():
    a, b = layers_of(MaskedAutoregressive, count=2)  # of opposite orders
    b.net.layers[0].weight = a.net.layers[0].weight
    flow, x = AutoregressiveStack(a, b), torch.randn(4, 5, dtype=torch.float64)
    before = a.net.layers[0].weight.clone()
    flow(x)
    assert torch.equal(a.net.layers[0].weight, before)


# A solver that is kept


def solved(flow, z):
    with torch.no_grad():
        return flow.inverse(z)


def step_by_step(flow, z):
    other = MaskedAutoregressive(flow.net, flow.bound, "sequential")
    return solved(other, z)


class HalfReLU(torch.nn.ReLU):
    def forward(self, x):
        return 0.5 * super().forward(x)


CHANGES = {
    "weights in place": lambda flow: flow.net.last.weight.mul_(1.5),
    "weights behind the back of autograd": lambda flow: flow.net.layers[0].weight.data.mul_(1.5),
    "a bias": lambda flow: flow.net.layers[1].bias.add_(0.3),
    "another tensor": lambda flow: setattr(flow.net.last, "bias", torch.nn.Parameter(flow.net.last.bias + 0.2)),
    "a saved state": lambda flow: flow.load_state_dict(layers_of(MaskedAutoregressive, seed=5)[0].state_dict()),
    "another order": lambda flow: flow.load_state_dict(layers_of(MaskedAutoregressive)[1].state_dict()),
    "the bound": lambda flow: setattr(flow, "bound", Tanh(0.4)),
    "the limit of the bound": lambda flow: setattr(flow.bound, "limit", 0.4),
    "the activation": lambda flow: setattr(flow.net, "activation", torch.nn.Tanh()),
    "the kind of activation": lambda flow: setattr(flow.net, "activation", HalfReLU()),
    "another network": lambda flow: setattr(flow, "net", layers_of(MaskedAutoregressive)[1].net),
    "half the precision": lambda flow: flow.float(),
}


@pytest.mark.parametrize("points", [3, 700])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_kept_solver_is_not_used_after_a_change(change, points):
    (flow,) = layers_of(MaskedAutoregressive, count=1)
    z = torch.randn(points, 5, dtype=torch.float64)
    before = solved(flow, z)
    assert flow._solver.fits(flow.net, flow.bound, z)
    with torch.no_grad():
        change(flow)
    z = z.to(flow.net.last.bias.dtype)
    after = solved(flow, z)
    tolerance = 1e-12 if z.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(after, step_by_step(flow, z), rtol=tolerance, atol=tolerance)
    assert z.dtype == torch.float32 or (after[0] - before[0]).abs().max() > 1e-3


@pytest.mark.parametrize(("points", "features"), [(1, 5), (6, 1), (1, 1), (700, 5)])
def test_what_was_returned_does_not_change_with_the_next_call(points, features):
    (flow,) = layers_of(MaskedAutoregressive, features=features, count=1)
    first, second = torch.randn(2, points, features, dtype=torch.float64)
    x, log_det = solved(flow, first)
    kept = x.clone(), log_det.clone(), first.clone()
    solver = flow._solver
    solved(flow, second)
    assert flow._solver is solver
    torch.testing.assert_close((x, log_det, first), kept, rtol=0, atol=0)
    torch.testing.assert_close(solved(flow, first), (x, log_det), rtol=0, atol=0)


def test_overflow_in_one_call_leaves_nothing_to_the_next():
    (flow,) = layers_of(MaskedAutoregressive, count=1)
    for points in (3, 700):
        z = torch.randn(points, 5, dtype=torch.float64)
        expected = step_by_step(flow, z)
        for spoiled in (torch.nan, torch.inf, 1e308):
            solved(flow, torch.full_like(z, spoiled))
            torch.testing.assert_close(solved(flow, z), expected, rtol=1e-12, atol=1e-12)


def test_contexts_and_sizes_of_batches_take_turns():
    flow = MaskedAutoregressive(MADE(5, 2, (12, 9), context_features=2)).double()
    for points in (4, 700, 4, 0, 700):
        z, context = torch.randn(points, 5, dtype=torch.float64), torch.randn(points, 2, dtype=torch.float64)
        with torch.no_grad():
            x, log_det = flow.inverse(z, context)
            back, of_back = flow(x, context)
        torch.testing.assert_close((back, of_back), (z, -log_det), rtol=1e-10, atol=1e-10)


def test_copies_and_pickles_go_without_it_and_inference_mode_does_not_lock_it():
    (flow,) = layers_of(MaskedAutoregressive, count=1)
    z = torch.randn(4, 5, dtype=torch.float64)
    with torch.inference_mode():
        expected = flow.inverse(z)
    for again in (flow, copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert again is flow or not hasattr(again, "_solver")
        torch.testing.assert_close(solved(again, z), tuple(part.clone() for part in expected), rtol=0, atol=0)


def test_threads_do_not_share_one():
    (flow,) = layers_of(MaskedAutoregressive, count=1)
    points = [torch.randn(300, 5, dtype=torch.float64) for _ in range(8)]
    expected = [solved(flow, z) for z in points]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            for a, b in zip(pool.map(lambda z: solved(flow, z), points), expected, strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize(("points", "hidden"), [(9000, (60, 60)), (4, (1100, 1000))], ids=["points", "weights"])
def test_large_ones_are_not_kept(points, hidden):
    (flow,) = layers_of(MaskedAutoregressive, hidden=hidden, count=1, seed=0)
    solved(flow, torch.randn(points, 5, dtype=torch.float64))
    assert not hasattr(flow, "_solver")


# Weights that are lent


@pytest.mark.parametrize("hidden", [(12, 9), (260, 260)], ids=["masks", "strips"])
def test_weights_that_are_lent_for_a_call_stay_as_they_are(hidden):
    (flow,) = layers_of(MaskedAutoregressive, hidden=hidden, count=1)
    lent = {name: torch.randn_like(p) for name, p in flow.named_parameters()}
    before = {name: p.clone() for name, p in lent.items()}
    x = torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        found = torch.func.functional_call(flow, lent, (x,))
        for name, p in flow.named_parameters():
            p.copy_(before[name])
        torch.testing.assert_close(found, flow(x), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(lent[name], before[name]) for name in lent)


@pytest.mark.parametrize("hidden", [(12, 9), (260, 260)], ids=["masks", "strips"])
def test_networks_built_under_inference_mode_run_outside(hidden):
    with torch.inference_mode():
        (flow,) = layers_of(MaskedAutoregressive, hidden=hidden, count=1)
    x = torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow(x)
        torch.testing.assert_close(flow.inverse(z), (x, -log_det), rtol=1e-9, atol=1e-9)


def test_two_passes_may_come_before_their_gradients():
    (flow,) = layers_of(MaskedAutoregressive, hidden=(260, 260), count=1)
    x = torch.randn(4, 5, dtype=torch.float64)
    first, second = flow(x)[0].sum(), flow(2 * x)[0].sum()
    (first + second).backward()
    assert all(p.grad.abs().sum() > 0 for p in flow.parameters())
