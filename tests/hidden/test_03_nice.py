"""Hidden suite of the exercises of chapter 3: NICE.

Every input is drawn anew from the seed. Networks and densities that are handed to the student's code run beside it;
what they should give is computed here, by copies with the same numbers, whatever became of them there.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch.nn.functional import logsigmoid

from course_flows.grading.suite import (
    assert_close,
    boolean,
    handle,
    integer,
    property_of,
    shuffled,
    tensor,
    total_mass,
)

two_masks = partial(property_of, "two-masks", hint_link="sec-nice-coupling")
group_stack = partial(property_of, "group-stack", hint_link="sec-nice-alternate")
tied_scaling = partial(property_of, "tied-scaling", hint_link="sec-nice-scaling")
logistic = partial(property_of, "logistic", hint_link="sec-nice-priors")
inpainting = partial(property_of, "inpainting", hint_link="sec-nice-inpainting")

F32, F64 = torch.float32, torch.float64
BATCHES = ((), (1,), (5,), (5, 5), (2, 1, 3))
# The two directions of a flow, by the sign with which they apply what they learned, and what they return.
FORWARD, INVERSE = 1, -1
POINTS = {FORWARD: "z", INVERSE: "x"}

# Runs here and beside the student's code: networks, densities and a prior.
WORLD = """
def numbers(reads, moves, generator, dtype=torch.float64):
    shapes = ((reads, 6), (6,), (6, moves))
    return [torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for shape in shapes]

class Net(torch.nn.Module):
    def __init__(self, parts, jumps=False):
        super().__init__()
        self.first, self.bias, self.second = (torch.nn.Parameter(part.clone()) for part in parts)
        self.jumps = jumps

    def forward(self, x):
        if x.shape[-1] != len(self.first):
            raise ValueError(f"a network that reads {len(self.first)} coordinates was given {x.shape[-1]}")
        if self.jumps:
            return torch.sin(1e13 * x).sum(dim=-1, keepdim=True) * self.second[0]
        return torch.tanh(x @ self.first + self.bias) @ self.second

class Factory:
    def __init__(self, seed, double=True):
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype, self.sizes = torch.float64 if double else torch.float32, []

    def __call__(self, reads, moves):
        self.sizes.append((int(reads), int(moves)))
        return Net(numbers(*self.sizes[-1], self.generator, self.dtype))

    def count(self):
        return len(self.sizes)

    def made(self):
        return torch.tensor(self.sizes, dtype=torch.int64).reshape(-1, 2)

class Prior:
    def __init__(self, center, width):
        self.center, self.width = center, width

    def __call__(self, z):
        u = (z - self.center) / self.width
        return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - math.log(self.width)

class Density(torch.nn.Module):
    def __init__(self, center, sharp, mix, scale, offset):
        super().__init__()
        self.center, self.sharp = torch.nn.Parameter(center.clone()), torch.nn.Parameter(sharp.clone())
        self.mix, self.scale, self.offset, self.sizes = mix, scale, offset, []

    def log_prob(self, x):
        self.sizes.append(len(x))
        bell = -(self.sharp * (x - self.center) ** 2).flatten(1).sum(dim=1)
        return self.scale * (bell + torch.sin(x.flatten(1) @ self.mix)) + self.offset

    def called_once_with(self, count):
        return self.sizes == [count]
"""

# Calls what the notebook defines and reports what shows only where the call is made.
BENCH = (
    WORLD
    + """
import sys

def callable_of(target):
    return getattr(sys.modules["__main__"], target) if isinstance(target, str) else target

class Bench:
    net, factory, prior, density = Net, Factory, Prior, Density

    def even_density(self, slope):
        return lambda x: slope * x.flatten(1).sum(dim=1)

    def edge_density(self):
        return lambda x: (torch.log(x) + torch.sqrt(x)).flatten(1).sum(dim=1)

    def leaves_alone(self, target, *args):
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        before = [(value.clone(), value.requires_grad) for value in tensors]
        callable_of(target)(*args)
        return all(torch.equal(new, old) and new.requires_grad == flag for new, (old, flag) in zip(tensors, before))

    def refuses(self, target, *args):
        try:
            callable_of(target)(*args)
        except ValueError:
            return True
        return False

    def trains_aside(self, target, start, *args):
        before, layer = start.clone(), callable_of(target)(start, *args)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.fill_(7.0)
        return torch.equal(start, before)

    def loads_aside(self, target, reads, moves, net, other):
        before = [reads.clone(), moves.clone()]
        callable_of(target)(reads, moves, net).load_state_dict(other.state_dict())
        return torch.equal(reads, before[0]) and torch.equal(moves, before[1])

    def step_is_plain(self, density, x, observed, demanding):
        x = x.clone().requires_grad_(demanding)
        return not callable_of("inpainting_step")(density.log_prob, x, observed, 0.1).requires_grad

    def step_without_grad(self, density, x, observed, step):
        with torch.no_grad():
            return callable_of("inpainting_step")(density.log_prob, x, observed, step)

    def step_leaves_gradients(self, density, x, observed):
        density.center.grad, density.sharp.grad = torch.full_like(density.center, 3.0), None
        callable_of("inpainting_step")(density.log_prob, x, observed, 0.1)
        return density.sharp.grad is None and bool((density.center.grad == 3.0).all())

bench = Bench()
"""
)

HERE = {"torch": torch, "math": math}
exec(WORLD, HERE)
numbers, Net, Factory, Prior, Density = (HERE[name] for name in ("numbers", "Net", "Factory", "Prior", "Density"))


def bench_of(student):
    return student.define(BENCH, "bench")


def randn(*shape, rng, dtype=F64):
    return torch.randn(shape, dtype=F64, generator=rng).to(dtype)


def uniform(*shape, rng, low=0.0, high=1.0, dtype=F64):
    return (low + (high - low) * torch.rand(shape, dtype=F64, generator=rng)).to(dtype)


def whole(low, high, rng):
    """A whole number from low to high that no answer can know in advance."""
    return int(torch.randint(low, high + 1, (1,), generator=rng))


# ------------------------------------------------------------------- flows: objects with forward and inverse
# `right` is what the statement says: a function of points (*batch, *event) and of the direction.


def ask(flow, direction, x, event_ndim=1):
    """The points and the log-determinants that a direction of the student's flow returns for x (*batch, *event)."""
    batch = x.shape[: x.dim() - event_ndim]
    method = flow.forward if direction == FORWARD else flow.inverse
    return method(x, returns=(tensor(*x.shape, dtype=x.dtype), tensor(*batch, dtype=x.dtype)))


def assert_points(flow, right, x, tolerance, event_ndim=1, when=""):
    """Require both directions to return the right points."""
    for direction, name in POINTS.items():
        found = ask(flow, direction, x, event_ndim)[0]
        assert_close(found, right(x, direction), tolerance, relative=tolerance, what=name + when)


def assert_shuffled(flow, right, direction, x, tolerance, rng, event_ndim=1):
    """Require the right points of one direction, whatever the other points of a batch are."""
    found = shuffled(lambda rows: ask(flow, direction, rows, event_ndim)[0], x, rng)
    assert_close(found, right(x, direction), tolerance, relative=tolerance, what=POINTS[direction])


def assert_round_trip(flow, x, digits):
    """Require there and back to be x, up to so many units in the last place; for a batch of one point, too."""
    for direction, words in ((FORWARD, "inverse(forward(x))"), (INVERSE, "forward(inverse(z))")):
        there = ask(flow, direction, x)[0]
        allowed = digits * torch.finfo(x.dtype).eps * float(max(x.abs().max(), there.abs().max()))
        assert_close(ask(flow, -direction, there)[0], x, allowed, what=words)
        assert_close(ask(flow, -direction, there[2:3])[0], x[2:3], allowed, what=f"{words} of a single point")


def assert_no_volume(flow, size, dtype=F64):
    """Require log-determinants of exactly 0, one number a point, for any number of batch dimensions."""
    for batch in BATCHES:
        x = torch.linspace(-2, 3, math.prod(batch) * size, dtype=F64).reshape(*batch, size).to(dtype)
        for direction in POINTS:
            assert_close(ask(flow, direction, x)[1], torch.zeros(batch, dtype=dtype), 0.0, what="a log-determinant")


def assert_points_differentiable(student, flow, right, x):
    """Require the gradients of both directions for the points, as a stack of flows needs them."""
    for method, direction in (("forward", FORWARD), ("inverse", INVERSE)):
        found = student.input_gradient(flow.bound(method), x, output=0, returns=tensor(*x.shape))
        leaf = x.clone().requires_grad_()
        expected = torch.autograd.grad(right(leaf, direction).sum(), leaf)[0]
        assert_close(found, expected, 1e-8, relative=1e-8, what=f"the gradient of the points of {method}")


def assert_networks_differentiable(student, flow, right, x):
    """Require the parameters to be those of the networks, and their gradients in both directions."""
    wanted, owned = right.parameters(), student.parameters(flow)
    strange = "the parameters are not those that the networks have"
    assert sorted(part.shape for part in wanted) == sorted(part.shape for part in owned.values()), strange
    for method, direction in (("forward", FORWARD), ("inverse", INVERSE)):
        expected = torch.autograd.grad(right(x, direction).sum(), wanted)
        for name, found in student.gradients(flow, method, x, output=0).items():
            assert found is not None, f"the points of {method} do not depend on the parameter {name}"
            same = [gradient for part, gradient in zip(wanted, expected) if torch.equal(part, owned[name])]
            assert same, strange
            assert_close(found, same[0], 1e-8, relative=1e-8, what=f"the gradient of {method} for {name}")
    assert_points_differentiable(student, flow, right, x)


def assert_follows(student, owner, flow, right, x, tolerance, factor):
    """Multiply all parameters of the owner and of the right networks; require the flow to follow."""
    assert_points(flow, right, x, tolerance)
    student.set_parameters(owner, {name: factor * part for name, part in student.parameters(owner).items()})
    with torch.no_grad():
        for part in right.parameters():
            part.mul_(factor)
    assert_points(flow, right, x, tolerance, when=" after training")


def assert_left_alone(student, flow, x):
    """Require both directions to leave the points that they are given as they are."""
    for method in ("forward", "inverse"):
        kept = bench_of(student).leaves_alone(flow.bound(method), x, returns=boolean())
        assert kept, f"{method} changed the points that it was given"


class Couplings:
    """Additive couplings, one after the other: triples of what is read, what is moved, and the network."""

    def __init__(self, *steps):
        self.steps = steps

    def __call__(self, x, direction):
        for reads, moves, net in self.steps[::direction]:
            y = x.clone()
            y[..., moves] = x[..., moves] + direction * net(x[..., reads])
            x = y
        return x

    def parameters(self):
        return [part for _, _, net in self.steps for part in net.parameters()]


# ----------------------------------------------------------------------------------- 1: a coupling with two masks

# How many coordinates are read, moved and idle.
PATTERNS = ((1, 1, 1), (2, 2, 2), (3, 3, 0), (2, 5, 1), (5, 1, 3), (1, 6, 0))


def masks(read, moved, idle, rng):
    """Masks with these numbers of coordinates, at random places."""
    order = torch.randperm(read + moved + idle, generator=rng)
    reads, moves = torch.zeros(2, len(order), dtype=torch.bool)
    reads[order[:read]] = True
    moves[order[read : read + moved]] = True
    return reads, moves


def build(student, reads, moves, parts, jumps=False):
    """The student's coupling with a network of these numbers, and the network."""
    net = bench_of(student).net(parts, jumps, returns=handle())
    return student.TwoMaskCoupling(reads, moves, net, returns=handle()), net


def some_coupling(student, pattern, rng, dtype=F64, as_lists=False):
    """The student's coupling with random masks and a random network, what is right, and points."""
    reads, moves = masks(*pattern, rng)
    parts = numbers(*pattern[:2], rng, dtype)
    flow, _ = build(student, *((reads.tolist(), moves.tolist()) if as_lists else (reads, moves)), parts)
    return flow, Couplings((reads, moves, Net(parts))), randn(7, sum(pattern), rng=rng, dtype=dtype)


@two_masks("Every moved coordinate is shifted by its own output of the network, which reads what the other mask says.")
def test_masks_forward(student, rng):
    for pattern in (*PATTERNS, tuple(whole(1, 6, rng) for _ in range(3))):
        flow, right, x = some_coupling(student, pattern, rng)
        assert_shuffled(flow, right, FORWARD, x, 1e-12, rng)


@two_masks("inverse takes the shift away: the network reads the same coordinates as before, which have not moved.")
def test_masks_inverse(student, rng):
    for pattern in PATTERNS:
        flow, right, z = some_coupling(student, pattern, rng, as_lists=True)
        assert_shuffled(flow, right, INVERSE, z, 1e-12, rng)


@two_masks("What is not moved comes out with the same bits, whether it is read or idle, large or small.")
def test_masks_keep_bits(student, rng):
    reads, moves = masks(3, 2, 3, rng)
    flow, _ = build(student, reads, moves, numbers(3, 2, rng))
    for scale in (1e-300, 1e-5, 1.0, 1e4, 1e300):
        x = scale * randn(5, 8, rng=rng)
        for direction in POINTS:
            found = ask(flow, direction, x)[0][:, ~moves]
            assert_close(found, x[:, ~moves], 0.0, what="a coordinate that is not moved")


@two_masks("There and back, whatever the network returns: large shifts, or jumps that show every bit of what it reads.")
def test_masks_round_trip(student, rng):
    for dtype in (F64, F32):
        reads, moves = masks(3, 3, 1, rng)
        first, bias, second = numbers(3, 3, rng, dtype)
        for jumps in (False, True):
            flow, _ = build(student, reads, moves, [first, bias, 1e4 * second], jumps)
            for scale in (1.0, 1e4):
                assert_round_trip(flow, scale * randn(6, 7, rng=rng, dtype=dtype), digits=16)


@two_masks("Shifts keep volume, in both directions: every log-determinant is 0, one number a point.")
def test_masks_log_det(student, rng):
    for pattern in ((2, 2, 1), (1, 4, 0), (3, 1, 2)):
        assert_no_volume(some_coupling(student, pattern, rng)[0], sum(pattern))


@two_masks("Masks may be False everywhere: without a coordinate to read all points get one shift, or nothing is moved.")
def test_masks_empty(student, rng):
    for pattern in ((0, 3, 2), (3, 0, 2), (0, 0, 4), (0, 5, 0), (5, 0, 0), (0, 1, 0), (1, 0, 0)):
        for as_lists in (False, True):
            flow, right, x = some_coupling(student, pattern, rng, as_lists=as_lists)
            assert_points(flow, right, x, 1e-12)
            assert_no_volume(flow, sum(pattern))


@two_masks("Any number of batch dimensions, also none, in float32 as in float64; points know nothing of each other.")
def test_masks_shapes(student, rng):
    for dtype, tolerance in ((F64, 1e-12), (F32, 1e-5)):
        flow, right, _ = some_coupling(student, (2, 2, 1), rng, dtype)
        assert_no_volume(flow, 5, dtype)
        for batch in BATCHES:
            assert_points(flow, right, randn(*batch, 5, rng=rng, dtype=dtype), tolerance)


@two_masks("A coordinate in both masks raises a ValueError: its shift could not be computed again. Idle ones are fine.")
def test_masks_refuses(student, rng):
    bench, accepted = bench_of(student), []
    for read, moved, overlap, idle, words in (
        (2, 2, 2, 1, "two equal masks"),
        (3, 3, 1, 0, "two large masks with one coordinate in common"),
        (1, 1, 1, 6, "two small equal masks"),
        (2, 1, 1, 5, "two small masks with one coordinate in common"),
        (1, 3, 1, 4, "a mask within the other"),
    ):
        reads, moves = masks(read - overlap, moved, idle, rng)
        reads[moves.nonzero()[:overlap, 0]] = True
        net = bench.net(numbers(read, moved, rng), returns=handle())
        for given, kind in (((reads, moves), "tensors"), ((reads.tolist(), moves.tolist()), "lists")):
            if not bench.refuses("TwoMaskCoupling", *given, net, returns=boolean()):
                accepted.append(f"{words} ({kind})")
    assert not accepted, f"no ValueError was raised for {', '.join(accepted)}"


@two_masks("The parameters are those of the network, and gradients reach all of them, and the points, both ways.")
def test_masks_gradients(student, rng):
    assert_networks_differentiable(student, *some_coupling(student, (2, 3, 1), rng))


@two_masks("The network's present numbers count: training changes them after the coupling was built.")
def test_masks_training(student, rng):
    (reads, moves), parts = masks(3, 2, 1, rng), numbers(3, 2, rng)
    flow, net = build(student, reads, moves, parts)
    right = Couplings((reads, moves, Net(parts)))
    for owner, factor in ((flow, -1.5), (net, 0.4)):
        assert_follows(student, owner, flow, right, randn(5, 6, rng=rng), 1e-12, factor)


@two_masks("The masks are in the state dictionary: both directions follow it, and nobody's mask is written into.")
def test_masks_reload(student, rng):
    bench = bench_of(student)
    for pattern in ((2, 3, 1), (3, 2, 2), (1, 1, 1)):
        (reads, moves), parts = masks(*pattern, rng), numbers(*pattern[:2], rng)
        source, _ = build(student, reads, moves, parts)
        for shift in (1, 2):
            other = reads.roll(shift), moves.roll(shift)
            target, net = build(student, *other, numbers(*pattern[:2], rng))
            x = randn(4, sum(pattern), rng=rng)
            ask(target, FORWARD, x), ask(target, INVERSE, x)
            student.load_state_dict(target, student.state_dict(source))
            assert_points(target, Couplings((reads, moves, Net(parts))), x, 1e-12, when=" of the reloaded coupling")
        kept = bench.loads_aside("TwoMaskCoupling", *other, net, source, returns=boolean())
        assert kept, "loading wrote into a mask that the coupling was built from"


@two_masks("The points and masks that are handed in stay as they are.")
def test_masks_leave_tensors_alone(student, rng):
    reads, moves = masks(2, 2, 1, rng)
    flow, net = build(student, reads, moves, numbers(2, 2, rng))
    assert_left_alone(student, flow, randn(3, 5, rng=rng))
    kept = bench_of(student).leaves_alone("TwoMaskCoupling", reads, moves, net, returns=boolean())
    assert kept, "building a coupling changed a mask that it was given"


# ------------------------------------------------------------------------------ 2: a stack that goes round groups

# The sizes of groups.
CUTS = ([1, 1], [2, 2], [1, 3], [3, 1], [2, 1, 2], [1, 2, 3], [1, 1, 1, 1], [3, 2, 1, 1], [2, 1, 1, 1, 1])


def some_cut(rng):
    return [whole(2, 3, rng) for _ in range(whole(2, 4, rng))]


def random_groups(sizes, rng):
    """Groups of these sizes, at random places."""
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return groups[torch.randperm(len(groups), generator=rng)]


def moves_needed(groups):
    """What each coupling moves, until every coordinate has heard of every other: followed one by one."""
    heard, moves = torch.eye(len(groups), dtype=torch.bool), []
    while not heard.all():
        moves.append(groups == len(moves) % (int(groups.max()) + 1))
        heard[moves[-1]] |= heard[~moves[-1]].any(dim=0)
    return moves


def some_stack(student, sizes, rng, double=True, as_list=False):
    """The student's stack for random groups of these sizes, what is right, and points."""
    groups, seed = random_groups(sizes, rng), whole(0, 10**6, rng)
    given = groups.tolist() if as_list else groups
    stack = student.GroupStack(given, bench_of(student).factory(seed, double, returns=handle()), returns=handle())
    make = Factory(seed, double)
    right = Couplings(*((~moved, moved, make((~moved).sum(), moved.sum())) for moved in moves_needed(groups)))
    return stack, right, randn(7, len(groups), rng=rng, dtype=F64 if double else F32)


@group_stack("Every output depends on every input, for groups of any number and any sizes.")
def test_stack_sees_everything(student, rng):
    for sizes in (*CUTS, some_cut(rng)):
        stack, _, x = some_stack(student, sizes, rng)
        z = ask(stack, FORWARD, x)[0]
        moved = [ask(stack, FORWARD, x + 0.5 * step)[0] - z for step in torch.eye(sum(sizes), dtype=F64)]
        assert (torch.stack(moved).abs().amax(dim=1) > 1e-9).all(), "some output does not depend on some input"


@group_stack(
    "make_net is called once for each coupling, while the stack is built, and no more often than it takes for every "
    "output to depend on every input."
)
def test_stack_number(student, rng):
    cuts = (*CUTS, [1, 4, 4], [4, 1], [1] * 7, [2] + [1] * 6, some_cut(rng), [1, *some_cut(rng)], [*some_cut(rng), 1])
    miscounts = []
    for sizes in cuts:
        groups = random_groups(sizes, rng)
        factory = bench_of(student).factory(0, returns=handle())
        stack = student.GroupStack(groups, factory, returns=handle())
        moves, count = moves_needed(groups), factory.count(returns=integer())
        if count != len(moves):
            miscounts.append(f"{count} instead of {len(moves)} for {len(sizes)} groups")
            continue
        expected = torch.tensor([[int((~moved).sum()), int(moved.sum())] for moved in moves])
        found = factory.made(returns=tensor(count, 2, dtype=torch.int64))
        assert_close(found, expected, 0, what="what make_net was asked for")
        for direction in POINTS:
            ask(stack, direction, randn(2, len(groups), rng=rng))
        assert factory.count(returns=integer()) == count, "forward or inverse made new networks"
    assert not miscounts, f"the numbers of couplings that were made are wrong: {', '.join(dict.fromkeys(miscounts))}"


@group_stack(
    "Coupling k moves group k mod G and reads all other coordinates, in ascending order, as the couplings before it "
    "have left them."
)
def test_stack_forward(student, rng):
    for sizes in (*CUTS, some_cut(rng)):
        for as_list in (False, True):
            stack, right, x = some_stack(student, sizes, rng, as_list=as_list)
            assert_shuffled(stack, right, FORWARD, x, 1e-10, rng)


@group_stack("inverse undoes the couplings one by one, the last one first.")
def test_stack_inverse(student, rng):
    for sizes in (*CUTS, some_cut(rng)):
        stack, right, z = some_stack(student, sizes, rng)
        assert_shuffled(stack, right, INVERSE, z, 1e-9, rng)


@group_stack("There and back, and back and there, to the last digits of the float.")
def test_stack_round_trip(student, rng):
    for sizes in ([2, 2], [1, 3], [2, 1, 2]):
        for double in (True, False):
            stack, _, x = some_stack(student, sizes, rng, double)
            for scale in (1.0, 1e4):
                assert_round_trip(stack, scale * x, digits=1e5)


@group_stack("Shifts keep volume, in both directions: every log-determinant is 0, one number a point.")
def test_stack_log_det(student, rng):
    for sizes in ([2, 3], [1, 2, 2]):
        assert_no_volume(some_stack(student, sizes, rng)[0], 5)


@group_stack("Any number of batch dimensions, also none, in float32 as in float64.")
def test_stack_shapes(student, rng):
    for sizes, double, dtype, tolerance in (([2, 3], False, F32, 1e-2), ([2, 1, 2], True, F64, 1e-9)):
        stack, right, _ = some_stack(student, sizes, rng, double)
        assert_no_volume(stack, 5, dtype)
        for batch in BATCHES:
            assert_points(stack, right, randn(*batch, 5, rng=rng, dtype=dtype), tolerance)


@group_stack("The parameters are those of all networks, and gradients reach each of them, and the points, both ways.")
def test_stack_gradients(student, rng):
    for sizes in ([2, 2], [1, 2, 2]):
        stack, right, x = some_stack(student, sizes, rng)
        assert_networks_differentiable(student, stack, right, 0.5 * x)


@group_stack("The networks' present numbers count: training changes them after the stack was built.")
def test_stack_training(student, rng):
    stack, right, x = some_stack(student, [2, 1, 2], rng)
    assert_follows(student, stack, stack, right, x, 1e-9, -0.5)


@group_stack("With a single group a ValueError is raised: there would be nothing to read.")
def test_stack_refuses(student, rng):
    bench = bench_of(student)
    for size in (1, 2, 5):
        for given in ([0] * size, torch.zeros(size, dtype=torch.int64)):
            refused = bench.refuses("GroupStack", given, bench.factory(0, returns=handle()), returns=boolean())
            assert refused, "a single group was accepted without a ValueError"


@group_stack("The points and groups that are handed in stay as they are.")
def test_stack_leaves_tensors_alone(student, rng):
    stack, _, x = some_stack(student, [2, 1, 2], rng)
    assert_left_alone(student, stack, x)
    bench = bench_of(student)
    groups, factory = random_groups([2, 1, 2], rng), bench.factory(0, returns=handle())
    kept = bench.leaves_alone("GroupStack", groups, factory, returns=boolean())
    assert kept, "building a stack changed the groups that it was given"


# --------------------------------------------------------------------------------------------- 3: tied scales

# The shape of the parameter and that of a point.
SHAPES = (
    ((), (5,)),
    ((4,), (4,)),
    ((3, 1, 1), (3, 2, 2)),
    ((2, 3), (4, 2, 3)),
    ((3,), (2, 2, 3)),
    ((1, 3, 1), (2, 3, 2)),
    ((2, 2, 3), (2, 2, 3)),
    ((), (2, 2)),
    ((3, 1), (3, 3)),
    ((1, 3), (3, 3)),
    ((3,), (3, 3)),
    ((2,), (2, 3, 2)),
)


class Scaling:
    """What the statement says, for a parameter and a prior."""

    def __init__(self, theta, event, prior=None):
        self.theta, self.event, self.s, self.prior = theta, tuple(event), theta.expand(tuple(event)), prior

    def __call__(self, x, direction):
        return x * (direction * self.s).exp()

    def log_det(self, x, direction):
        return (direction * self.s.sum()).expand(x.shape[: x.dim() - self.s.dim()])

    def log_prob(self, x):
        return self.prior(self(x, FORWARD)).flatten(x.dim() - self.s.dim()).sum(dim=-1) + self.s.sum()

    def spectrum(self):
        return (-self.s).exp().flatten().sort(descending=True).values


def some_scaling(student, shape, event, rng, dtype=F64):
    """The student's layer with a random parameter, what is right with a random prior, and points."""
    theta = randn(*shape, rng=rng, dtype=dtype)
    prior = Prior(float(randn(1, rng=rng)), float(uniform(1, rng=rng, low=0.5, high=3.0)))
    layer = student.TiedScaling(theta, event, returns=handle())
    return layer, Scaling(theta, event, prior), randn(6, *event, rng=rng, dtype=dtype)


def prior_of(student, right):
    """The same prior, beside the student's code."""
    return bench_of(student).prior(right.prior.center, right.prior.width, returns=handle())


def assert_log_dets(layer, right, x, when=""):
    """Require the log-determinants of both directions."""
    for direction, name in ((FORWARD, "forward"), (INVERSE, "inverse")):
        expected = right.log_det(x, direction)
        found = ask(layer, direction, x, len(right.event))[1]
        what = f"the log-determinant of {name}{when}"
        assert_close(found, expected, 1e-11 if x.dtype == F64 else 1e-4, what=what)


def assert_density(student, layer, right, x, tolerance=1e-7, when=""):
    """Require the log-density of points with any number of batch dimensions."""
    expected = right.log_prob(x)
    found = layer.log_prob(x, prior_of(student, right), returns=tensor(*expected.shape, dtype=x.dtype))
    assert_close(found, expected, tolerance, what=f"log p(x){when}")


def assert_spectrum(layer, right, tolerance=1e-12, when=""):
    expected = right.spectrum()
    found = layer.spectrum(returns=tensor(*expected.shape, dtype=expected.dtype))
    assert_close(found, expected, tolerance, relative=tolerance, what=f"the spectrum{when}")


@tied_scaling(
    "Every entry of a point is multiplied by e^s on the way to the latent space and divided by it on the way back, "
    "with s broadcast by torch's rules."
)
def test_scaling_points(student, rng):
    for shape, event in SHAPES:
        for given in (event, list(event)):
            layer, right, x = some_scaling(student, shape, given, rng)
            for direction in POINTS:
                assert_shuffled(layer, right, direction, x, 1e-12, rng, len(event))


@tied_scaling("The log-determinant counts a scale once for every entry that shares it; inverse has the other sign.")
def test_scaling_log_det(student, rng):
    for shape, event in SHAPES:
        layer, right, x = some_scaling(student, shape, event, rng)
        assert_log_dets(layer, right, x)


@tied_scaling("Any number of batch dimensions, also none: the last dimensions belong to the point.")
def test_scaling_batches(student, rng):
    for shape, event in (((3, 1, 1), (3, 2, 2)), ((2,), (2,)), ((2, 2), (2, 2))):
        layer, right, _ = some_scaling(student, shape, event, rng)
        for batch in BATCHES:
            x = randn(*batch, *event, rng=rng)
            assert_points(layer, right, x, 1e-12, len(event))
            assert_log_dets(layer, right, x)
            assert_density(student, layer, right, x)


def assert_volume(student, rng, shape, event, dtype, value):
    """Require the log-determinants of layers in which e to the value, or to its negative, scales every entry."""
    x, expected = randn(2, *event, rng=rng, dtype=dtype), torch.full((2,), value * math.prod(event), dtype=dtype)
    for direction, name in ((FORWARD, "forward"), (INVERSE, "inverse")):
        theta = torch.full(shape, direction * value, dtype=dtype)
        found = ask(student.TiedScaling(theta, event, returns=handle()), direction, x, len(event))[1]
        assert_close(found, expected, 0.0, relative=1e-5, what=f"the log-determinant of {name}")


@tied_scaling("The log-determinant comes from s itself: where e^s is 0 in a float, it is not infinite.")
def test_scaling_vanishing_scales(student, rng):
    for shape, event, dtype, value in (((2, 1, 1), (2, 2, 2), F64, -800.0), ((), (6,), F32, -150.0)):
        assert_volume(student, rng, shape, event, dtype, value)


@tied_scaling("The product of many scales leaves the range of a float; the sum of their logarithms does not.")
def test_scaling_many_scales(student, rng):
    for value in (-3.0, 3.0):
        assert_volume(student, rng, (40, 1), (40, 30), F64, value)
    assert_volume(student, rng, (30,), (30, 30), F32, 2.0)


@tied_scaling(
    "log p(x) is the log-prior of the scaled entries, added up over a point, plus the log-determinant of the scaling, "
    "whatever the prior."
)
def test_scaling_density(student, rng):
    for shape, event in SHAPES:
        layer, right, x = some_scaling(student, shape, event, rng)
        prior = prior_of(student, right)
        found = shuffled(lambda rows, f=layer, p=prior: f.log_prob(rows, p, returns=tensor(len(rows))), x, rng)
        assert_close(found, right.log_prob(x), 1e-7, what="log p(x)")


@tied_scaling("The spectrum holds what inverse does to each entry, e^-s, once for every entry, the largest first.")
def test_scaling_spectrum(student, rng):
    for shape, event in SHAPES:
        layer, right, _ = some_scaling(student, shape, event, rng)
        assert_spectrum(layer, right)


@tied_scaling("There is one parameter, with shape, dtype and numbers of start, and it is a copy of it.")
def test_scaling_parameter(student, rng):
    for dtype in (F64, F32):
        for shape, event in SHAPES:
            layer, right, _ = some_scaling(student, shape, event, rng, dtype)
            found = list(student.parameters(layer).values())
            assert len(found) == 1, f"the layer has {len(found)} parameters"
            assert_close(found[0], right.theta, 0.0, what="the parameter")
            aside = bench_of(student).trains_aside("TiedScaling", right.theta, event, returns=boolean())
            assert aside, "training the layer changed the tensor that it was started from"


@tied_scaling("All results follow the present parameter; entries that share a scale go on sharing it.")
def test_scaling_training(student, rng):
    for shape, event in (((3, 1, 1), (3, 2, 2)), ((2,), (3, 2))):
        layer, right, x = some_scaling(student, shape, event, rng)
        for when in ("", " after training"):
            assert_points(layer, right, x, 1e-12, len(event), when)
            assert_log_dets(layer, right, x, when)
            assert_density(student, layer, right, x, when=when)
            assert_spectrum(layer, right, when=when)
            right = Scaling(randn(*shape, rng=rng), event, right.prior)
            student.set_parameters(layer, dict.fromkeys(student.parameters(layer), right.theta))


@tied_scaling("Gradients reach the parameter through all results, and the points both ways and through the density.")
def test_scaling_gradients(student, rng):
    for shape, event in (((2, 1), (2, 3)), ((), (4,))):
        layer, right, x = some_scaling(student, shape, event, rng)
        prior, leaf = prior_of(student, right), right.theta.clone().requires_grad_()
        same = Scaling(leaf, event, right.prior)
        for method, output, args, total in (
            ("forward", 0, [x], same(x, FORWARD)),
            ("forward", 1, [x], same.log_det(x, FORWARD)),
            ("inverse", 0, [x], same(x, INVERSE)),
            ("inverse", 1, [x], same.log_det(x, INVERSE)),
            ("log_prob", None, [x, prior], same.log_prob(x)),
            ("spectrum", None, [], same.spectrum()),
        ):
            expected = torch.autograd.grad(total.sum(), leaf, retain_graph=True)[0]
            found = list(student.gradients(layer, method, *args, output=output).values())
            reached = len(found) == 1 and found[0] is not None
            assert reached, f"no gradient reaches the parameter through {method}"
            assert_close(found[0], expected, 1e-9, relative=1e-9, what=f"the gradient of {method} for the parameter")
        assert_points_differentiable(student, layer, right, x)
        found = student.input_gradient(layer.bound("log_prob"), x, prior, returns=tensor(*x.shape))
        points = x.clone().requires_grad_()
        expected = torch.autograd.grad(right.log_prob(points).sum(), points)[0]
        assert_close(found, expected, 1e-9, relative=1e-9, what="the gradient of log_prob for the points")


@tied_scaling("float32 in, float32 out, in every result.")
def test_scaling_float32(student, rng):
    layer, right, x = some_scaling(student, (3, 1), (3, 2), rng, F32)
    assert_points(layer, right, x, 1e-4, 2)
    assert_log_dets(layer, right, x)
    assert_density(student, layer, right, x, 1e-3)
    assert_spectrum(layer, right, 1e-4)


@tied_scaling("The points that are handed in stay as they are.")
def test_scaling_leaves_tensors_alone(student, rng):
    layer, right, x = some_scaling(student, (2, 1), (2, 3), rng)
    assert_left_alone(student, layer, x)
    kept = bench_of(student).leaves_alone(layer.bound("log_prob"), x, prior_of(student, right), returns=boolean())
    assert kept, "log_prob changed the points that it was given"


# ------------------------------------------------------------------------------- 4: a logistic density in the tails

PRECISION = {F64: (1e-8, 1e-8), F32: (1e-3, 1e-4)}
EXTREMES = [-1e4, -3e3, -100.0, -30.0, -1.0, 0.0, 0.5, 20.0, 50.0, 800.0, 1e4]
# The slope at the location itself is left out: where two formulas meet, autograd may answer with that of either side.
SLOPED = [-1e4, -3e3, -100.0, -30.0, -1.3, 0.25, 0.75, 20.0, 50.0, 800.0, 1e4]


def right_log_prob(x, location, log_scale):
    x, location, log_scale = (part.to(F64) for part in (x, location, log_scale))
    distance = ((x - location) * (-log_scale).exp()).abs()
    return -distance - 2 * torch.log1p((-distance).exp()) - log_scale


def right_log_mass(low, high, location, log_scale):
    low, high, location, log_scale = (part.to(F64) for part in (low, high, location, log_scale))
    a, b = ((edge - location) * (-log_scale).exp() for edge in (low, high))
    return logsigmoid(b) + logsigmoid(-a) + torch.log(-torch.expm1((low - high) * (-log_scale).exp()))


def assert_right(found, expected, what):
    absolute, relative = PRECISION[found.dtype]
    assert_close(found, expected.to(found.dtype), absolute, relative=relative, what=what)


def broadcast(args):
    """What a function returns for arguments that broadcast."""
    return tensor(*torch.broadcast_shapes(*(part.shape for part in args)), dtype=args[0].dtype)


def assert_log_prob(student, *args):
    found = student.logistic_log_prob(*args, returns=broadcast(args))
    assert_right(found, right_log_prob(*args), "the log-density")


def assert_log_mass(student, *args, where=""):
    found = student.logistic_log_mass(*args, returns=broadcast(args))
    assert_right(found, right_log_mass(*args), f"the log-mass{where}")


def number(value, dtype=F64):
    return torch.tensor(value, dtype=dtype)


def some_logistics(count, rng, dtype=F64):
    """Locations and log-scales of different sizes."""
    return 3 * randn(count, rng=rng, dtype=dtype), uniform(count, rng=rng, low=-1.5, high=2.5, dtype=dtype)


@logistic("The log-density near the location, for any location and scale, number by number.")
def test_logistic_value(student, rng):
    for dtype in (F64, F32):
        location, log_scale = some_logistics(40, rng, dtype)
        rows = torch.stack([location + 4 * randn(40, rng=rng, dtype=dtype), location, log_scale], dim=1)

        def ask_rows(rows):
            return student.logistic_log_prob(*rows.unbind(dim=1), returns=tensor(len(rows), dtype=rows.dtype))

        assert_right(shuffled(ask_rows, rows, rng), right_log_prob(*rows.unbind(dim=1)), "the log-density")


@logistic("The density integrates to 1, and so do the masses of intervals that cover the line.")
def test_logistic_total_mass(student, rng):
    for _ in range(3):
        location, log_scale = some_logistics(1, rng)
        center, width = float(location), float(log_scale.exp())

        def density(x, *at):
            return student.logistic_log_prob(x, location, log_scale, returns=tensor(len(x)))  # noqa: B023  (called in this round)

        mass, error = total_mass(density, 0, rng, center=center, scale=1.5 * width, samples=8000)
        assert abs(mass - 1) < 6 * error + 0.01, f"the total mass is {mass:.3f}, with a standard error of {error:.3f}"
        edges = center + width * torch.cat([number([-math.inf]), torch.linspace(-6, 6, 25), number([math.inf])])
        masses = student.logistic_log_mass(edges[:-1], edges[1:], location, log_scale, returns=tensor(26)).exp()
        assert_close(masses.sum(), number(1.0), 1e-6, what="the sum of the masses")


def assert_tail(student, edges):
    """Require the log-density at these distances from the location, for small and large scales, in both dtypes."""
    for dtype in (F64, F32):
        log_scale = number([-20.0, -5.0, -1.0, 0.0, 1.0, 5.0, 20.0], dtype)[:, None]
        for location in (0.0, 7.25, 1e4 if edges[0] < 0 else -1e4):
            assert_log_prob(student, number(edges, dtype), number(location, dtype), log_scale)


@logistic("Far to the left the log-density falls like u, without overflow, in float32 as in float64.")
def test_logistic_left_tail(student, rng):
    assert_tail(student, [-1e4, -3e3, -700.0, -100.0, -30.0, -15.2, -1.0, 0.0])


@logistic("Far to the right the log-density falls like -u, without overflow, in float32 as in float64.")
def test_logistic_right_tail(student, rng):
    assert_tail(student, [8.0, 15.2, 20.0, 50.0, 89.0, 800.0, 5e3, 1e4])


@logistic("All arguments broadcast, and nothing is added up.")
def test_logistic_shapes(student, rng):
    for shapes in (((5,), (), ()), ((), (3,), ()), ((), (), (4,)), ((4, 1), (3,), (2, 1, 1)), ((2, 3),) * 3, ((),) * 3):
        assert_log_prob(student, *(randn(*shape, rng=rng) for shape in shapes))
    for shapes in (((5,), (), (), ()), ((), (), (3,), ()), ((2,), (3, 1), (), (4, 1, 1)), ((),) * 4):
        low, extra, location, log_scale = (randn(*shape, rng=rng) for shape in shapes)
        assert_log_mass(student, low, low + 0.2 + extra.abs(), location, log_scale)


@logistic("The gradients of the log-density are right near the location and in the tails; for x, -tanh(u/2) / scale.")
def test_logistic_gradients(student, rng):
    for dtype in (F64, F32):
        x = torch.cat([number(SLOPED, dtype), 3 * randn(6, rng=rng, dtype=dtype)])
        for location, log_scale in ((0.0, 0.0), (0.5, 1.5), (-3.0, -2.0), (1e4, 3.0), (0.0, -20.0)):
            given = (x, torch.full_like(x, location), torch.full_like(x, log_scale))
            u = (x.to(F64) - location) * math.exp(-log_scale)
            slope = -torch.tanh(u / 2) * math.exp(-log_scale)
            for wrt, expected in enumerate((slope, -slope, u * torch.tanh(u / 2) - 1)):
                found = student.input_gradient("logistic_log_prob", *given, wrt=wrt, returns=broadcast(given))
                assert_right(found, expected, f"the gradient of the log-density for argument {wrt + 1}")


@logistic("The mass of an interval near the location, for any location and scale, number by number.")
def test_logistic_mass_value(student, rng):
    for dtype in (F64, F32):
        location, log_scale = some_logistics(40, rng, dtype)
        low = location + 3 * randn(40, rng=rng, dtype=dtype)
        high = low + log_scale.exp().clamp_min(1.0) * uniform(40, rng=rng, low=0.2, high=4.0, dtype=dtype)
        rows = torch.stack([low, high, location, log_scale], dim=1)

        def ask_rows(rows):
            return student.logistic_log_mass(*rows.unbind(dim=1), returns=tensor(len(rows), dtype=rows.dtype))

        found = shuffled(ask_rows, rows, rng, decoys=rows[:15].flip(0))
        assert_right(found, right_log_mass(*rows.unbind(dim=1)), "the log-mass")


@logistic(
    "On the right of the location F is nearly 1, and F(high) - F(low) is lost in rounding; on the left it is not."
)
def test_logistic_mass_on_the_right(student, rng):
    for dtype in (F64, F32):
        low, zero = number([5.0, 9.0, 15.0, 20.0, 40.0, 60.0, 75.0], dtype), number(0.0, dtype)
        for length in (0.5, 2.0, 20.0):
            assert_log_mass(student, low, low + length, zero, zero, where=" on the right")
            assert_log_mass(student, -low - length, -low, zero, zero, where=" on the left")


@logistic("In both tails F(high) - F(low) is 0 or lost in rounding, but its logarithm is an ordinary number.")
def test_logistic_mass_tails(student, rng):
    for dtype in (F64, F32):
        low = number([v for v in EXTREMES if v < 1e4] + [9e3, 15.0, 37.0, -16.0, -40.0], dtype)
        for location, log_scale, length in ((0, 0, 1), (0, 0, 30), (5, 2, 4), (-2, -4, 0.25), (1e4, -20, 2)):
            at, s = number(float(location), dtype), number(float(log_scale), dtype)
            assert_log_mass(student, low, low + length, at, s, where=" in the tails")
        low, high, zero = number([-1e4, -1e4, 5e3], dtype), number([1e4, -5e3, 1e4], dtype), number(0.0, dtype)
        assert_log_mass(student, low, high, zero, zero, where=" of half a tail, or of nearly all of the line")
    low = number(EXTREMES[:-1])
    assert_log_mass(student, low, low + 0.5, number(0.0), number(20.0), where=" under a very large scale")


@logistic("low may be -infinity and high +infinity: what is left is F, 1 - F, or log 1.")
def test_logistic_mass_infinite(student, rng):
    for dtype in (F64, F32):
        infinity, (location, log_scale) = number(math.inf, dtype), some_logistics(1, rng, dtype)
        edge = torch.cat([number(EXTREMES, dtype), 4 * randn(4, rng=rng, dtype=dtype)])
        assert_log_mass(student, -infinity, edge, location, log_scale, where=" from -infinity")
        assert_log_mass(student, edge, infinity, location, log_scale, where=" up to infinity")
        assert_log_mass(student, -infinity, infinity, location, log_scale, where=" of the whole line")
        low, high = number([-math.inf, -1.0], dtype), number([0.5, math.inf], dtype)
        assert_log_mass(student, low, high, location, log_scale, where=" of half-open intervals")


@logistic("A thin interval holds its length times the density: 1 - e^-w keeps no digits of a tiny w, expm1 keeps all.")
def test_logistic_mass_thin(student, rng):
    for log_scale in (0.0, 2.0, -3.0):
        width = math.exp(log_scale) * number([1e-12, 1e-11, 1e-9, 1e-5])
        assert_log_mass(student, torch.zeros_like(width), width, number(0.0), number(log_scale))
    zero = number([0.0], F32)
    assert_log_mass(student, zero, zero + 0.1, zero, zero)


@logistic("The gradients of the log-mass for its ends are the densities there divided by the mass, in the tails too.")
def test_logistic_mass_gradients(student, rng):
    low = torch.cat([number(SLOPED[:-1]), 3 * randn(6, rng=rng)])
    for location, log_scale, length in ((0, 0, 1), (0.5, 1.5, 3), (-3, -2, 0.5), (0, 0, 200), (2, 8, 0.5)):
        given = high, at, s = low + length, torch.full_like(low, location), torch.full_like(low, log_scale)
        mass = right_log_mass(low, *given)
        at_low, at_high = ((right_log_prob(edge, at, s) - mass).exp() for edge in (low, high))
        stretch = (low - at) * at_low - (high - at) * at_high
        in_float32 = [part.to(F32) for part in (low, *given)]
        for wrt, expected in enumerate((-at_low, at_high, at_low - at_high, stretch)):
            found = student.input_gradient("logistic_log_mass", low, *given, wrt=wrt, returns=broadcast(given))
            what = f"the gradient of the log-mass for argument {wrt + 1}"
            assert_close(found, expected, 1e-5, relative=1e-5, what=what)
            if length * math.exp(-log_scale) >= 0.1:  # finite is all that is asked of it
                student.input_gradient("logistic_log_mass", *in_float32, wrt=wrt, returns=broadcast(in_float32))


@logistic("The tensors that are handed in stay as they are.")
def test_logistic_leaves_tensors_alone(student, rng):
    x, (location, log_scale) = randn(4, rng=rng), some_logistics(4, rng)
    for name, given in (("logistic_log_prob", (x,)), ("logistic_log_mass", (x, x + 1))):
        kept = bench_of(student).leaves_alone(name, *given, location, log_scale, returns=boolean())
        assert kept, f"{name} changed a tensor that it was given"


# ------------------------------------------------------------------------------------------- 5: inpainting

EVENTS = ((5,), (4, 3), (1, 4, 4), (3, 2, 3), (2,))


def landscape(event, rng, dtype=F64, scale=1.0, offset=0.0):
    """A density of images with a bell and waves; what it is called with here does not count there."""
    center, sharp = uniform(*event, rng=rng, dtype=dtype), uniform(*event, rng=rng, low=0.5, high=4.0, dtype=dtype)
    return Density(center, sharp, randn(math.prod(event), rng=rng, dtype=dtype), scale, offset)


def beside(student, world):
    """The same density, beside the student's code."""
    center, sharp = world.center.detach(), world.sharp.detach()
    return bench_of(student).density(center, sharp, world.mix, world.scale, world.offset, returns=handle())


def slope_of(world, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(world.log_prob(x).sum(), x)[0]


def images(count, event, rng, dtype=F64):
    """Images away from 0 and 1, so that a short step is not clipped; at least two pixels of each are missing."""
    x = uniform(count, *event, rng=rng, low=0.3, high=0.7, dtype=dtype)
    observed = torch.rand(count, math.prod(event), generator=rng) < 0.5
    for row in observed:
        row[torch.randperm(len(row), generator=rng)[:2]] = False
    return x, observed.reshape(x.shape)


def stepped(x, observed, slope, step):
    """The new images, pixel by pixel as the statement says it."""
    new = x.clone()
    for image, kept, g in zip(new, observed, slope):
        missing = ~kept
        largest = g[missing].abs().max() if missing.any() else torch.tensor(0.0)
        push = step * (g[missing] / largest) if largest > 0 else torch.zeros_like(g[missing])
        image[missing] = (image[missing] + push).clamp(0, 1)
    return new


def step_of(student, density, x, observed, step):
    """The student's step on a density beside the student's code: a function, or the method log_prob of a model."""
    return student.inpainting_step(density, x, observed, step, returns=tensor(*x.shape, dtype=x.dtype))


def assert_step(student, world, x, observed, step, tolerance=1e-9, slope=None):
    """Require the new images, and return them."""
    found = step_of(student, beside(student, world).bound("log_prob"), x, observed, step)
    assert_close(found, stepped(x, observed, slope_of(world, x) if slope is None else slope, step), tolerance)
    return found


@inpainting(
    "Missing pixels move along the gradient; the one with the steepest slope of its image moves by exactly step, the "
    "others in proportion."
)
def test_inpainting_formula(student, rng):
    for dtype, tolerance in ((F64, 1e-9), (F32, 1e-5)):
        for event in EVENTS:
            for step in (1e-3, 0.125, float(uniform(1, rng=rng, low=0.01, high=0.2))):
                x, observed = images(6, event, rng, dtype)
                found = assert_step(student, landscape(event, rng, dtype), x, observed, step, tolerance)
                moved = (found - x).abs().flatten(1).amax(dim=1)
                assert_close(moved, torch.full_like(moved, step), tolerance, what="the longest move in an image")


@inpainting("Observed pixels come out exactly as they went in, also those outside of [0, 1].")
def test_inpainting_observed(student, rng):
    for dtype in (F64, F32):
        for event in EVENTS:
            x, observed = images(5, event, rng, dtype)
            outside = observed & (torch.rand(x.shape, generator=rng) < 0.5)
            x = torch.where(outside, 20 * randn(*x.shape, rng=rng, dtype=dtype), x)
            density = beside(student, landscape(event, rng, dtype)).bound("log_prob")
            found = step_of(student, density, x, observed, 0.1)
            assert_close(found[observed], x[observed], 0.0, what="an observed pixel")
            assert (found != x)[~observed].any(), "no missing pixel was moved"


@inpainting("The steepest slope is that of the image's own missing pixels: other images, observed pixels do not count.")
def test_inpainting_own_scale(student, rng):
    for event in ((6,), (1, 3, 3)):
        world, (x, observed) = landscape(event, rng), images(6, event, rng)
        x[:3] = torch.where(observed[:3], 50.0, x[:3])
        density = beside(student, world).bound("log_prob")

        def ask_rows(rows, density=density):
            return step_of(student, density, rows[:, 0].contiguous(), rows[:, 1] > 0.5, 0.05)

        rows = torch.stack([x, observed.to(F64)], dim=1)
        decoys = torch.stack([torch.full((3, *event), 30.0, dtype=F64), torch.zeros(3, *event, dtype=F64)], dim=1)
        found = shuffled(ask_rows, rows, rng, decoys=decoys)
        assert_close(found, stepped(x, observed, slope_of(world, x), 0.05), 1e-9)


@inpainting("The step is measured in pixels: small and large slopes, and log-densities far from 0, change nothing.")
def test_inpainting_slopes_of_any_size(student, rng):
    for dtype, tolerance in ((F64, 1e-9), (F32, 1e-5)):
        for scale in (1e-30, 1e-12, 1e-6, 1.0, 1e6, 1e30):
            world = landscape((2, 3), rng, dtype, scale=scale)
            x, observed = images(4, (2, 3), rng, dtype)
            one = Density(world.center, world.sharp, world.mix, 1.0, 0.0)
            assert_step(student, world, x, observed, 0.1, tolerance, slope=slope_of(one, x))
        for offset in (-1e5, 1e5):
            world = landscape((2, 3), rng, dtype, offset=offset)
            assert_step(student, world, *images(4, (2, 3), rng, dtype), 0.1, tolerance)


@inpainting("Where all slopes of missing pixels are 0 nothing is added (0/0 is NaN); other images move all the same.")
def test_inpainting_flat(student, rng):
    for event in ((4,), (1, 2, 3)):
        world, (x, observed) = landscape(event, rng), images(4, event, rng)
        world.mix.zero_()
        x[1] = torch.where(observed[1], x[1], world.center.detach())
        x[2], observed[2] = world.center.detach(), False
        found = assert_step(student, world, x, observed, 0.1)
        assert_close(found[1:3], x[1:3], 0.0, what="an image with slopes of 0")


@inpainting("Where all slopes are equal every missing pixel moves by step, whatever tensor autograd keeps them in.")
def test_inpainting_even_slopes(student, rng):
    for event in EVENTS:
        for slope in (3.0, -0.25):
            x, observed = images(5, event, rng)
            found = step_of(student, bench_of(student).even_density(slope, returns=handle()), x, observed, 0.1)
            assert_close(found, torch.where(observed, x, x + math.copysign(0.1, slope)), 1e-9)


@inpainting("All pixels of an image may be observed, then it stays as it is; or none, then all may move.")
def test_inpainting_all_or_none(student, rng):
    for event in ((4,), (1, 2, 3)):
        world, (x, mixed) = landscape(event, rng), images(4, event, rng)
        for observed in (torch.ones_like(mixed), torch.zeros_like(mixed), mixed):
            observed[1], observed[2] = True, False
            for rows in (slice(None), slice(1, 2), slice(2, 3)):
                assert_step(student, world, x[rows].contiguous(), observed[rows].contiguous(), 0.1)


@inpainting("Missing pixels are clipped to [0, 1], at both ends, after the step; also those that did not move.")
def test_inpainting_clips(student, rng):
    for event in ((6,), (2, 2, 3)):
        world, (_, observed) = landscape(event, rng), images(6, event, rng)
        x = uniform(6, *event, rng=rng, low=-0.5, high=1.5)
        for step in (0.1, 0.9, 5.0):
            found = step_of(student, beside(student, world).bound("log_prob"), x, observed, step)
            ends = {"below 0": (found[~observed] < 0).any(), "above 1": (found[~observed] > 1).any()}
            outside = [words for words, hit in ends.items() if hit]
            assert not outside, f"there are missing pixels {' and '.join(outside)}"
            assert_close(found, stepped(x, observed, slope_of(world, x), step), 1e-9)
        found = step_of(student, bench_of(student).even_density(0.0, returns=handle()), x, observed, 0.1)
        assert_close(found, torch.where(observed, x, x.clamp(0, 1)), 0.0, what="an image that only is clipped")


@inpainting("The slope for an observed pixel may be infinite or NaN: it must not matter, not even times 0.")
def test_inpainting_broken_slopes(student, rng):
    density = bench_of(student).edge_density(returns=handle())  # the slope is infinite at 0 and NaN below
    for event in ((5,), (1, 3, 2)):
        for dtype in (F64, F32):
            for broken in (0.0, -1.0):
                x, observed = images(4, event, rng, dtype)
                observed[1:].flatten(1)[:, 0] = True
                x = torch.where(observed & (torch.rand(x.shape, generator=rng) < 0.7), broken, x)
                x[1:].flatten(1)[:, 0] = broken
                found = step_of(student, density, x, observed, 0.05)
                assert_close(found, stepped(x, observed, 1 / x + 0.5 / x.sqrt(), 0.05), 1e-5)


@inpainting("log_prob is called once, with the whole batch: on images its call is what costs.")
def test_inpainting_calls_once(student, rng):
    for count in (1, 5):
        density = beside(student, landscape((2, 3), rng))
        step_of(student, density.bound("log_prob"), *images(count, (2, 3), rng), 0.1)
        assert density.called_once_with(count, returns=boolean()), "log_prob was not called once with the whole batch"


@inpainting("The step works inside torch.no_grad() too, and its result requires no gradient.")
def test_inpainting_without_grad(student, rng):
    bench, world, (x, observed) = bench_of(student), landscape((2, 3), rng), images(4, (2, 3), rng)
    density = beside(student, world)
    found = bench.step_without_grad(density, x, observed, 0.1, returns=tensor(*x.shape))
    assert_close(found, stepped(x, observed, slope_of(world, x), 0.1), 1e-9, what="the result inside no_grad")
    for demanding in (False, True):
        plain = bench.step_is_plain(density, x, observed, demanding, returns=boolean())
        assert plain, "the result requires a gradient"


@inpainting("No traces are left: the images, the mask and the gradients of the model's parameters stay as they are.")
def test_inpainting_leaves_no_traces(student, rng):
    bench, (x, observed) = bench_of(student), images(4, (2, 3), rng)
    density = beside(student, landscape((2, 3), rng))
    kept = bench.leaves_alone("inpainting_step", density.bound("log_prob"), x, observed, 0.1, returns=boolean())
    assert kept, "the images, or the mask, were changed, or the images require a gradient now"
    kept = bench.step_leaves_gradients(density, x, observed, returns=boolean())
    assert kept, "the gradients of the model's parameters were changed"
    again = [step_of(student, density.bound("log_prob"), x, observed, 0.1) for _ in range(2)]
    assert_close(again[1], again[0], 0.0, what="the same step, made again,")
