"""Hidden suite of the exercises of chapter 3: NICE.

Every input is drawn anew from the seed. Networks and densities that are handed to the student's code run beside it;
what they should give is computed here, from their numbers, so that nothing depends on what became of them there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid

from course_flows.grading.suite import (
    assert_close,
    boolean,
    finite_difference_jacobian,
    finite_difference_log_det,
    handle,
    integer,
    property_of,
    shuffled,
    tensor,
    total_mass,
)

COUPLING, ALTERNATE, SCALING = "sec-nice-coupling", "sec-nice-alternate", "sec-nice-scaling"
PRIORS, INPAINTING = "sec-nice-priors", "sec-nice-inpainting"
F32, F64 = torch.float32, torch.float64
HIDDEN = 6

# Runs beside the student's code: networks, densities, and a witness of what shows only where a call is made.
BENCH = """
import sys

def weights(seed, reads, moves):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((reads, HIDDEN), (HIDDEN,), (HIDDEN, moves))
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]

class Net(torch.nn.Module):
    def __init__(self, first, bias, second, jumps=False):
        super().__init__()
        self.first, self.bias, self.second = (torch.nn.Parameter(part.clone()) for part in (first, bias, second))
        self.jumps = jumps

    def forward(self, x):
        if x.shape[-1] != len(self.first):
            raise ValueError(f"a network that reads {len(self.first)} coordinates was given {x.shape[-1]}")
        if self.jumps:
            return torch.sin(1e13 * x).sum(dim=-1, keepdim=True) * self.second[0]
        return torch.tanh(x @ self.first + self.bias) @ self.second

class Factory:
    def __init__(self, seed, dtype):
        self.seed, self.dtype, self.sizes = seed, dtype, []

    def __call__(self, reads, moves):
        self.sizes.append((int(reads), int(moves)))
        return Net(*(part.to(self.dtype) for part in weights(self.seed + len(self.sizes), reads, moves)))

    def count(self):
        return len(self.sizes)

    def made(self):
        return torch.tensor(self.sizes, dtype=torch.int64).reshape(-1, 2)

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

class Prior:
    def __init__(self, center, width):
        self.center, self.width = center, width

    def __call__(self, z):
        u = (z - self.center) / self.width
        return torch.nn.functional.logsigmoid(u) + torch.nn.functional.logsigmoid(-u) - math.log(self.width)

def callable_of(target):
    return getattr(sys.modules["__main__"], target) if isinstance(target, str) else target

class Bench:
    def net(self, first, bias, second, jumps=False):
        return Net(first, bias, second, jumps)

    def factory(self, seed, double=True):
        return Factory(seed, torch.float64 if double else torch.float32)

    def density(self, center, sharp, mix, scale, offset):
        return Density(center, sharp, mix, scale, offset)

    def prior(self, center, width):
        return Prior(center, width)

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
""".replace("HIDDEN", str(HIDDEN))


def bench_of(student):
    return student.define(BENCH, "bench")


def randn(*shape, rng, dtype=F64):
    return torch.randn(shape, dtype=F64, generator=rng).to(dtype)


def uniform(*shape, rng, low=0.0, high=1.0, dtype=F64):
    return (low + (high - low) * torch.rand(shape, dtype=F64, generator=rng)).to(dtype)


def whole(low, high, rng):
    """A whole number from low to high that no answer can know in advance."""
    return int(torch.randint(low, high + 1, (1,), generator=rng))


def pair(x, event_ndim=1):
    """What a direction of a flow returns for the batch x (*batch, *event)."""
    return tensor(*x.shape, dtype=x.dtype), tensor(*x.shape[: x.dim() - event_ndim], dtype=x.dtype)


def both(flow, x, event_ndim=1):
    return flow.forward(x, returns=pair(x, event_ndim))


def back(flow, z, event_ndim=1):
    return flow.inverse(z, returns=pair(z, event_ndim))


def points_only(method, event_ndim=1):
    return lambda x: method(x, returns=pair(x, event_ndim))[0]


def assert_differentiable(student, flow, x, rng, event_ndim=1):
    """Require the gradients of both directions for the points, as a stack of flows needs them."""
    for method in ("forward", "inverse"):
        found = student.input_gradient(flow.bound(method), x, output=0, returns=tensor(*x.shape))
        jacobian = finite_difference_jacobian(points_only(getattr(flow, method), event_ndim), x, rng)
        expected = jacobian.sum(dim=1).reshape(x.shape)
        assert_close(found, expected, 1e-6, relative=1e-6, what=f"the gradient of the points of {method}")


def assert_left_alone(student, flow, x):
    """Require both directions to leave the points that they are given as they are."""
    for method in ("forward", "inverse"):
        kept = bench_of(student).leaves_alone(flow.bound(method), x, returns=boolean())
        assert kept, f"{method} changed the points that it was given"


def assert_no_volume(flow, dtype=F64, size=5):
    """Require log-determinants of exactly 0, one number a point, for any number of batch dimensions."""
    for batch in ((), (1,), (4,), (2, 1, 3)):
        x = torch.linspace(-2, 3, math.prod(batch) * size, dtype=F64).reshape(*batch, size).to(dtype)
        for found in (both(flow, x)[1], back(flow, x)[1]):
            assert_close(found, torch.zeros(batch, dtype=dtype), 0.0, what="a log-determinant")


@dataclass
class Weights:
    """The numbers of a network, and what it returns: tanh(x first + bias) second, (*batch, R) to (*batch, M)."""

    first: torch.Tensor
    bias: torch.Tensor
    second: torch.Tensor

    def __call__(self, x):
        return torch.tanh(x @ self.first + self.bias) @ self.second

    def parts(self):
        return [self.first, self.bias, self.second]

    def to(self, dtype):
        return Weights(*(part.to(dtype) for part in self.parts()))

    def scaled(self, factor):
        return Weights(*(factor * part for part in self.parts()))


# ----------------------------------------------------------------------------------- 1: a coupling with two masks


def masks(read, moved, idle, rng):
    """Masks with these numbers of coordinates, at random places."""
    order = torch.randperm(read + moved + idle, generator=rng)
    reads, moves = torch.zeros(2, len(order), dtype=torch.bool)
    reads[order[:read]] = True
    moves[order[read : read + moved]] = True
    return reads, moves


def some_weights(read, moved, rng, size=1.0):
    first = randn(read, HIDDEN, rng=rng) / math.sqrt(max(read, 1))
    return Weights(first, randn(HIDDEN, rng=rng), size * randn(HIDDEN, moved, rng=rng))


def coupling(student, reads, moves, net, jumps=False):
    return coupling_and_net(student, reads, moves, net, jumps)[0]


def coupling_and_net(student, reads, moves, net, jumps=False):
    inner = bench_of(student).net(*net.parts(), jumps, returns=handle())
    return student.TwoMaskCoupling(reads, moves, inner, returns=handle()), inner


def shifted(x, reads, moves, net, sign=1):
    z = x.clone()
    z[..., moves] = z[..., moves] + sign * net(x[..., reads])
    return z


PATTERNS = ((1, 1, 1), (2, 2, 2), (3, 3, 0), (2, 5, 1), (5, 1, 3), (1, 6, 0))


@property_of(
    "two-masks",
    "Every moved coordinate is shifted by its own output of the network, which reads what the other mask says.",
    hint_link=COUPLING,
)
def test_masks_forward(student, rng):
    for numbers in (*PATTERNS, tuple(whole(1, 6, rng) for _ in range(3))):
        reads, moves = masks(*numbers, rng)
        net, x = some_weights(numbers[0], numbers[1], rng), randn(7, sum(numbers), rng=rng)
        flow = coupling(student, reads, moves.tolist(), net)
        found = shuffled(points_only(flow.forward), x, rng)
        assert_close(found, shifted(x, reads, moves, net), 1e-12, what="z")


@property_of(
    "two-masks",
    "inverse takes the shift away again; it asks the network for the coordinates that were read, which have not moved.",
    hint_link=COUPLING,
)
def test_masks_inverse(student, rng):
    for numbers in PATTERNS:
        reads, moves = masks(*numbers, rng)
        net, z = some_weights(numbers[0], numbers[1], rng), randn(7, sum(numbers), rng=rng)
        flow = coupling(student, reads.tolist(), moves, net)
        found = shuffled(points_only(flow.inverse), z, rng)
        assert_close(found, shifted(z, reads, moves, net, sign=-1), 1e-12, what="x")


@property_of(
    "two-masks",
    "What is not moved comes out with the same bits, whether it is read or idle, large or small.",
    hint_link=COUPLING,
)
def test_masks_keep_bits(student, rng):
    reads, moves = masks(3, 2, 3, rng)
    flow = coupling(student, reads, moves, some_weights(3, 2, rng))
    for scale in (1e-300, 1e-5, 1.0, 1e4, 1e300):
        x = scale * randn(5, 8, rng=rng)
        for z in (both(flow, x)[0], back(flow, x)[0]):
            assert_close(z[:, ~moves], x[:, ~moves], 0.0, what="a coordinate that is not moved")


@property_of(
    "two-masks",
    "There and back, and back and there, whatever the network returns: large shifts, or jumps that show every bit "
    "of what it reads.",
    hint_link=COUPLING,
)
def test_masks_round_trip(student, rng):
    for dtype, limit in ((F64, 2.3e-16), (F32, 1.2e-7)):
        reads, moves = masks(3, 3, 1, rng)
        net = some_weights(3, 3, rng, size=1e4).to(dtype)
        for jumps in (False, True):
            flow = coupling(student, reads, moves, net, jumps)
            for scale in (1.0, 1e4):
                x = scale * randn(6, 7, rng=rng, dtype=dtype)
                z, y = both(flow, x)[0], back(flow, x)[0]
                allowed = 4 * limit * float(max(x.abs().max(), z.abs().max(), y.abs().max()))
                assert_close(back(flow, z)[0], x, allowed, what="inverse(forward(x))")
                assert_close(both(flow, y)[0], x, allowed, what="forward(inverse(z))")
                single = back(flow, z[2:3])[0]
                assert_close(single, x[2:3], allowed, what="inverse of a batch of one point")


@property_of(
    "two-masks",
    "A moved coordinate depends on itself, with slope 1, and on what is read; any other on itself alone. The volume is "
    "kept, so that every log-determinant is 0.",
    hint_link=COUPLING,
)
def test_masks_jacobian(student, rng):
    for numbers in ((2, 2, 1), (1, 4, 0), (3, 1, 2)):
        reads, moves = masks(*numbers, rng)
        flow, x = coupling(student, reads, moves, some_weights(*numbers[:2], rng)), randn(3, sum(numbers), rng=rng)
        for method in (flow.forward, flow.inverse):
            jacobian = finite_difference_jacobian(points_only(method), x, rng)
            one = torch.eye(len(reads), dtype=F64).expand_as(jacobian)
            through = moves[:, None] & reads[None, :]
            assert_close(jacobian[:, ~through], one[:, ~through], 1e-8, what="the Jacobian where it does not read")
            assert (jacobian[:, through].abs() > 1e-9).all(), "a moved coordinate does not depend on all that is read"
        assert_no_volume(flow, size=sum(numbers))


@property_of(
    "two-masks",
    "Masks may be False everywhere: a network that reads nothing returns the same shift for all points, and one that "
    "moves nothing changes nothing.",
    hint_link=COUPLING,
)
def test_masks_empty(student, rng):
    for numbers in ((0, 3, 2), (3, 0, 2), (0, 0, 4), (0, 5, 0), (5, 0, 0), (0, 1, 0), (1, 0, 0)):
        reads, moves = masks(*numbers, rng)
        net = some_weights(numbers[0], numbers[1], rng)
        for given in ((reads, moves), (reads.tolist(), moves.tolist())):
            flow, x = coupling(student, *given, net), randn(4, sum(numbers), rng=rng)
            assert_close(both(flow, x)[0], shifted(x, reads, moves, net), 1e-12, what="z")
            assert_close(back(flow, x)[0], shifted(x, reads, moves, net, sign=-1), 1e-12, what="x")
            assert_no_volume(flow, size=sum(numbers))


@property_of(
    "two-masks",
    "Any number of batch dimensions, also none; the points of one batch know nothing of each other.",
    hint_link=COUPLING,
)
def test_masks_batches(student, rng):
    reads, moves = masks(2, 2, 1, rng)
    net = some_weights(2, 2, rng)
    flow = coupling(student, reads, moves, net)
    for batch in ((), (1,), (5,), (5, 5), (2, 1, 3)):
        x = randn(*batch, 5, rng=rng)
        assert_close(both(flow, x)[0], shifted(x, reads, moves, net), 1e-12, what="z")
        assert_close(back(flow, x)[0], shifted(x, reads, moves, net, sign=-1), 1e-12, what="x")


@property_of("two-masks", "float32 in, float32 out: points and log-determinants.", hint_link=COUPLING)
def test_masks_float32(student, rng):
    reads, moves = masks(2, 3, 1, rng)
    net, x = some_weights(2, 3, rng).to(F32), randn(4, 6, rng=rng, dtype=F32)
    flow = coupling(student, reads, moves, net)
    assert_close(both(flow, x)[0], shifted(x, reads, moves, net), 1e-5, what="z")
    assert_close(back(flow, x)[0], shifted(x, reads, moves, net, sign=-1), 1e-5, what="x")
    assert_no_volume(flow, F32, size=6)


@property_of(
    "two-masks",
    "A coordinate that is read and moved at once raises a ValueError: the shift could not be computed again. Idle ones "
    "are no error.",
    hint_link=COUPLING,
)
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
        inner = bench.net(*some_weights(read, moved, rng).parts(), returns=handle())
        for given, kind in (((reads, moves), "tensors"), ((reads.tolist(), moves.tolist()), "lists")):
            if not bench.refuses("TwoMaskCoupling", *given, inner, returns=boolean()):
                accepted.append(f"{words} ({kind})")
    assert not accepted, f"no ValueError was raised for {', '.join(accepted)}"


@property_of(
    "two-masks",
    "The parameters are those of the network, and gradients reach all of them in both directions.",
    hint_link=COUPLING,
)
def test_masks_gradients(student, rng):
    reads, moves = masks(2, 3, 1, rng)
    net, x = some_weights(2, 3, rng), randn(5, 6, rng=rng)
    flow = coupling(student, reads, moves, net)
    leaves = Weights(*(part.clone().requires_grad_() for part in net.parts()))
    expected = torch.autograd.grad(leaves(x[:, reads]).sum(), leaves.parts())
    shapes = {name: tuple(part.shape) for name, part in student.parameters(flow).items()}
    wanted = sorted(tuple(part.shape) for part in net.parts())
    assert sorted(shapes.values()) == wanted, "the parameters of the coupling are not those of its network"
    for method, sign in (("forward", 1), ("inverse", -1)):
        for name, found in student.gradients(flow, method, x, output=0).items():
            assert found is not None, f"the points of {method} do not depend on the parameter {name}"
            right = next(sign * part for part in expected if part.shape == found.shape)
            assert_close(found, right, 1e-10, what=f"the gradient of {method} for {name}")
    assert_differentiable(student, flow, x, rng)


@property_of("two-masks", "The network's present numbers count: training changes them after the coupling was built.")
def test_masks_training(student, rng):
    reads, moves = masks(3, 2, 1, rng)
    net, x = some_weights(3, 2, rng), randn(5, 6, rng=rng)
    flow, inner = coupling_and_net(student, reads, moves, net)
    for owner, factor in ((flow, -1.5), (inner, 0.4)):
        both(flow, x), back(flow, x)
        student.set_parameters(owner, {name: factor * part for name, part in student.parameters(owner).items()})
        net = net.scaled(factor)
        assert_close(both(flow, x)[0], shifted(x, reads, moves, net), 1e-12, what="z after training")
        assert_close(back(flow, x)[0], shifted(x, reads, moves, net, sign=-1), 1e-12, what="x after training")


@property_of(
    "two-masks",
    "The masks are part of the state dictionary: after loading both directions are the loaded ones, and no mask of "
    "somebody else was written into.",
)
def test_masks_reload(student, rng):
    for numbers in ((2, 3, 1), (3, 2, 2), (1, 1, 1)):
        reads, moves = masks(*numbers, rng)
        net, x = some_weights(*numbers[:2], rng), randn(4, sum(numbers), rng=rng)
        source = coupling(student, reads, moves, net)
        for shift in (1, 2):
            other = some_weights(*numbers[:2], rng)
            target = coupling(student, reads.roll(shift), moves.roll(shift), other)
            both(target, x), back(target, x)
            student.load_state_dict(target, student.state_dict(source))
            assert_close(both(target, x)[0], shifted(x, reads, moves, net), 1e-12, what="z of the reloaded coupling")
            expected = shifted(x, reads, moves, net, sign=-1)
            assert_close(back(target, x)[0], expected, 1e-12, what="x of the reloaded coupling")
        bench = bench_of(student)
        inner = bench.net(*net.parts(), returns=handle())
        kept = bench.loads_aside("TwoMaskCoupling", reads.roll(1), moves.roll(1), inner, source, returns=boolean())
        assert kept, "loading wrote into a mask that the coupling was built from"


@property_of("two-masks", "The points and masks that are handed in stay as they are.")
def test_masks_leave_tensors_alone(student, rng):
    reads, moves = masks(2, 2, 1, rng)
    net = some_weights(2, 2, rng)
    assert_left_alone(student, coupling(student, reads, moves, net), randn(3, 5, rng=rng))
    bench = bench_of(student)
    inner = bench.net(*net.parts(), returns=handle())
    kept = bench.leaves_alone("TwoMaskCoupling", reads, moves, inner, returns=boolean())
    assert kept, "building a coupling changed a mask that it was given"


# ------------------------------------------------------------------------------ 2: a stack that goes round groups


def couplings_needed(groups):
    """The smallest number of couplings: found by following who has heard of whom, coupling by coupling."""
    groups = torch.as_tensor(groups)
    heard, count = torch.eye(len(groups), dtype=torch.bool), 0
    while not heard.all():
        moved = groups == count % (int(groups.max()) + 1)
        heard[moved] = heard[moved] | heard[~moved].any(dim=0)
        count += 1
    return count


def networks(seed, groups):
    """The masks of all couplings, and the networks that the factory with this seed makes for them."""
    groups = torch.as_tensor(groups)
    moves = [groups == k % (int(groups.max()) + 1) for k in range(couplings_needed(groups))]
    nets = []
    for k, moved in enumerate(moves):
        generator = torch.Generator().manual_seed(seed + k + 1)
        shapes = ((int((~moved).sum()), HIDDEN), (HIDDEN,), (HIDDEN, int(moved.sum())))
        nets.append(Weights(*(torch.randn(shape, dtype=F64, generator=generator) for shape in shapes)))
    return moves, nets


def stacked(x, moves, nets):
    for moved, net in zip(moves, nets):
        x = shifted(x, ~moved, moved, net)
    return x


def unstacked(z, moves, nets):
    for moved, net in zip(reversed(moves), reversed(nets)):
        z = shifted(z, ~moved, moved, net, sign=-1)
    return z


def stack_of(student, groups, seed, double=True):
    """The student's stack for these groups and the factory of its networks."""
    factory = bench_of(student).factory(seed, double, returns=handle())
    return student.GroupStack(groups, factory, returns=handle()), factory


def random_groups(sizes, rng):
    """Groups of these sizes, at random places."""
    groups = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return groups[torch.randperm(len(groups), generator=rng)]


CUTS = ([1, 1], [2, 2], [1, 3], [3, 1], [2, 1, 2], [1, 2, 3], [1, 1, 1, 1], [3, 2, 1, 1], [2, 1, 1, 1, 1])


def some_cut(rng):
    return [whole(2, 3, rng) for _ in range(whole(2, 4, rng))]


@property_of(
    "group-stack",
    "Every output depends on every input, for groups of any number and any sizes.",
    hint_link=ALTERNATE,
)
def test_stack_sees_everything(student, rng):
    for sizes in (*CUTS, some_cut(rng)):
        groups = random_groups(sizes, rng)
        stack, _ = stack_of(student, groups, whole(0, 10**6, rng))
        x = randn(3, len(groups), rng=rng)
        z = both(stack, x)[0]
        moved = [both(stack, x + 0.5 * step)[0] - z for step in torch.eye(len(groups), dtype=F64)]
        assert (torch.stack(moved).abs().amax(dim=1) > 1e-9).all(), "some output does not depend on some input"


@property_of(
    "group-stack",
    "make_net is called once for each coupling, while the stack is built, and no more often than it takes for every "
    "output to depend on every input.",
    hint_link=ALTERNATE,
)
def test_stack_number(student, rng):
    cuts = (*CUTS, [1, 4, 4], [4, 1], [1] * 7, [2] + [1] * 6, some_cut(rng), [1, *some_cut(rng)], [*some_cut(rng), 1])
    for sizes in cuts:
        groups = random_groups(sizes, rng)
        stack, factory = stack_of(student, groups, whole(0, 10**6, rng))
        needed = couplings_needed(groups)
        count = factory.count(returns=integer())
        assert count >= needed, f"for {len(sizes)} groups {needed} couplings are needed, {count} were made"
        assert count <= needed, f"for {len(sizes)} groups {needed} couplings are enough, {count} were made"
        moves, _ = networks(0, groups)
        expected = torch.tensor([[int((~moved).sum()), int(moved.sum())] for moved in moves])
        found = factory.made(returns=tensor(count, 2, dtype=torch.int64))
        assert_close(found, expected, 0, what="what make_net was asked for")
        x = randn(2, len(groups), rng=rng)
        both(stack, x), back(stack, x)
        assert factory.count(returns=integer()) == count, "forward or inverse made new networks"


@property_of(
    "group-stack",
    "Coupling k moves group k mod G and reads all other coordinates, in ascending order, as the couplings before it "
    "have left them.",
    hint_link=ALTERNATE,
)
def test_stack_forward(student, rng):
    for sizes in (*CUTS, some_cut(rng)):
        groups, seed = random_groups(sizes, rng), whole(0, 10**6, rng)
        x = randn(7, len(groups), rng=rng)
        for given in (groups, groups.tolist()):
            stack, _ = stack_of(student, given, seed)
            found = shuffled(points_only(stack.forward), x, rng)
            assert_close(found, stacked(x, *networks(seed, groups)), 1e-10, what="z")


@property_of("group-stack", "inverse undoes the couplings one by one, the last one first.", hint_link=ALTERNATE)
def test_stack_inverse(student, rng):
    for sizes in (*CUTS, some_cut(rng)):
        groups, seed = random_groups(sizes, rng), whole(0, 10**6, rng)
        stack, _ = stack_of(student, groups, seed)
        z = randn(7, len(groups), rng=rng)
        found = shuffled(points_only(stack.inverse), z, rng)
        assert_close(found, unstacked(z, *networks(seed, groups)), 1e-9, what="x")


@property_of(
    "group-stack",
    "There and back, and back and there, to the last digits of the float.",
    hint_link=ALTERNATE,
)
def test_stack_round_trip(student, rng):
    for sizes in ([2, 2], [1, 3], [2, 1, 2]):
        groups = random_groups(sizes, rng)
        for double, dtype, tolerance in ((True, F64, 1e-10), (False, F32, 0.1)):
            stack, _ = stack_of(student, groups, whole(0, 10**6, rng), double)
            for scale in (1.0, 1e4):
                x = scale * randn(5, len(groups), rng=rng, dtype=dtype)
                allowed = scale * tolerance
                assert_close(back(stack, both(stack, x)[0])[0], x, allowed, what="inverse(forward(x))")
                assert_close(both(stack, back(stack, x)[0])[0], x, allowed, what="forward(inverse(z))")


@property_of(
    "group-stack",
    "Shifts keep volume, in both directions: every log-determinant is 0, one number a point.",
    hint_link=ALTERNATE,
)
def test_stack_log_det(student, rng):
    for sizes in ([2, 3], [1, 2, 2]):
        stack, _ = stack_of(student, random_groups(sizes, rng), whole(0, 10**6, rng))
        x = randn(3, 5, rng=rng)
        for method in (stack.forward, stack.inverse):
            found = finite_difference_log_det(points_only(method), x, rng)
            assert_close(found, torch.zeros(3, dtype=F64), 1e-4, what="the log-determinant of the map by differences")
        assert_no_volume(stack)


@property_of("group-stack", "Any number of batch dimensions, also none.", hint_link=ALTERNATE)
def test_stack_batches(student, rng):
    groups, seed = random_groups([2, 1, 2], rng), whole(0, 10**6, rng)
    stack, _ = stack_of(student, groups, seed)
    for batch in ((), (1,), (5,), (5, 5), (2, 1, 3)):
        x = randn(*batch, 5, rng=rng)
        assert_close(both(stack, x)[0], stacked(x, *networks(seed, groups)), 1e-10, what="z")
        assert_close(back(stack, x)[0], unstacked(x, *networks(seed, groups)), 1e-9, what="x")


@property_of("group-stack", "float32 in, float32 out: points and log-determinants.", hint_link=ALTERNATE)
def test_stack_float32(student, rng):
    groups, seed = random_groups([2, 3], rng), whole(0, 10**6, rng)
    stack, _ = stack_of(student, groups, seed, double=False)
    x = randn(4, 5, rng=rng, dtype=F32)
    expected = stacked(x.to(F64), *networks(seed, groups)).to(F32)
    assert_close(both(stack, x)[0], expected, 1e-2, what="z")
    assert_no_volume(stack, F32)


@property_of(
    "group-stack",
    "The parameters are those of all networks, each coupling has one of its own, and gradients reach every one of "
    "them in both directions.",
    hint_link=ALTERNATE,
)
def test_stack_gradients(student, rng):
    for sizes in ([2, 2], [1, 2, 2]):
        groups, seed = random_groups(sizes, rng), whole(0, 10**6, rng)
        stack, _ = stack_of(student, groups, seed)
        x, (moves, nets) = 0.5 * randn(6, len(groups), rng=rng), networks(seed, groups)
        leaves = [Weights(*(part.clone().requires_grad_() for part in net.parts())) for net in nets]
        wanted = [part for net in leaves for part in net.parts()]
        old = student.parameters(stack)
        shapes, found_shapes = (sorted(tuple(part.shape) for part in parts) for parts in (wanted, old.values()))
        assert found_shapes == shapes, "the parameters are not those of the networks"
        for method, run in (("forward", stacked), ("inverse", unstacked)):
            expected = torch.autograd.grad(run(x, moves, leaves).sum(), wanted)
            for name, found in student.gradients(stack, method, x, output=0).items():
                assert found is not None, f"the points of {method} do not depend on the parameter {name}"
                right = next(g for part, g in zip(wanted, expected) if torch.equal(part, old[name]))
                assert_close(found, right, 1e-8, relative=1e-8, what=f"the gradient of {method} for {name}")
        assert_differentiable(student, stack, x, rng)


@property_of("group-stack", "The networks' present numbers count: training changes them after the stack was built.")
def test_stack_training(student, rng):
    groups, seed = random_groups([2, 1, 2], rng), whole(0, 10**6, rng)
    stack, _ = stack_of(student, groups, seed)
    x, (moves, nets) = randn(5, 5, rng=rng), networks(seed, groups)
    both(stack, x)
    student.set_parameters(stack, {name: -0.5 * part for name, part in student.parameters(stack).items()})
    trained = [net.scaled(-0.5) for net in nets]
    assert_close(both(stack, x)[0], stacked(x, moves, trained), 1e-10, what="z after training")
    assert_close(back(stack, x)[0], unstacked(x, moves, trained), 1e-9, what="x after training")


@property_of(
    "group-stack",
    "With a single group a ValueError is raised: there would be nothing to read.",
    hint_link=ALTERNATE,
)
def test_stack_refuses(student, rng):
    bench = bench_of(student)
    for size in (1, 2, 5):
        for given in ([0] * size, torch.zeros(size, dtype=torch.int64)):
            factory = bench.factory(0, returns=handle())
            refused = bench.refuses("GroupStack", given, factory, returns=boolean())
            assert refused, "a single group was accepted without a ValueError"


@property_of("group-stack", "The points and groups that are handed in stay as they are.")
def test_stack_leaves_tensors_alone(student, rng):
    groups = random_groups([2, 1, 2], rng)
    stack, factory = stack_of(student, groups, 0)
    assert_left_alone(student, stack, randn(3, 5, rng=rng))
    kept = bench_of(student).leaves_alone("GroupStack", groups, factory, returns=boolean())
    assert kept, "building a stack changed the groups that it was given"


# --------------------------------------------------------------------------------------------- 3: tied scales

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


def scaling(student, start, event_shape):
    return student.TiedScaling(start, event_shape, returns=handle())


def log_prior(z, center, width):
    u = (z - center) / width
    return logsigmoid(u) + logsigmoid(-u) - math.log(width)


def log_density(x, s, center, width):
    return log_prior(x * s.exp(), center, width).flatten(x.dim() - s.dim()).sum(dim=-1) + s.sum()


@property_of(
    "tied-scaling",
    "Every entry of a point is multiplied by e^s on the way to the latent space and divided by it on the way back, "
    "with s broadcast by torch's rules.",
    hint_link=SCALING,
)
def test_scaling_points(student, rng):
    for shape, event in SHAPES:
        theta, x = randn(*shape, rng=rng), randn(6, *event, rng=rng)
        for given in (event, list(event)):
            layer = scaling(student, theta, given)
            n = len(event)
            found = shuffled(points_only(layer.forward, n), x, rng)
            assert_close(found, x * theta.exp(), 1e-12, relative=1e-12, what="z")
            found = shuffled(points_only(layer.inverse, n), x, rng)
            assert_close(found, x * (-theta).exp(), 1e-12, relative=1e-12, what="x")


@property_of(
    "tied-scaling",
    "The log-determinant is that of the whole map: a scale counts once for every entry that shares it. That of inverse "
    "has the other sign.",
    hint_link=SCALING,
)
def test_scaling_log_det(student, rng):
    for shape, event in SHAPES:
        theta, x, n = randn(*shape, rng=rng), randn(3, *event, rng=rng), len(event)
        layer = scaling(student, theta, event)
        expected = theta.expand(event).sum().expand(3)
        assert_close(both(layer, x, n)[1], expected, 1e-11, what="the log-determinant of forward")
        assert_close(back(layer, x, n)[1], -expected, 1e-11, what="the log-determinant of inverse")
        for method, sign in ((layer.forward, 1), (layer.inverse, -1)):
            found = finite_difference_log_det(points_only(method, n), x[:1], rng, step=0.1)
            assert_close(sign * expected[:1], found, 1e-6, what="the sum that the statement asks for")


@property_of(
    "tied-scaling",
    "Any number of batch dimensions, also none: the last dimensions belong to the point, the others are the batch's.",
    hint_link=SCALING,
)
def test_scaling_batches(student, rng):
    prior = bench_of(student).prior(0.3, 1.7, returns=handle())
    for shape, event in (((3, 1, 1), (3, 2, 2)), ((2,), (2,)), ((2, 2), (2, 2))):
        theta, n = randn(*shape, rng=rng), len(event)
        layer, s = scaling(student, theta, event), theta.expand(event)
        for batch in ((), (1,), (3,), (2, 2), (2, 1, 3)):
            x = randn(*batch, *event, rng=rng)
            z, found = both(layer, x, n)
            assert_close(z, x * theta.exp(), 1e-12, relative=1e-12, what="z")
            assert_close(found, s.sum().expand(batch), 1e-11, what="a log-determinant of forward")
            y, found = back(layer, x, n)
            assert_close(y, x * (-theta).exp(), 1e-12, relative=1e-12, what="x")
            assert_close(found, -s.sum().expand(batch), 1e-11, what="a log-determinant of inverse")
            found = layer.log_prob(x, prior, returns=tensor(*batch))
            assert_close(found, log_density(x, s, 0.3, 1.7), 1e-7, what="log p(x)")


def assert_volume(student, rng, shape, event, dtype, value):
    """Require the log-determinants of a layer in which all entries of the parameter have this value."""
    theta, x, n = torch.full(shape, value, dtype=dtype), randn(2, *event, rng=rng, dtype=dtype), len(event)
    expected = torch.full((2,), value * math.prod(event), dtype=dtype)
    found = both(scaling(student, theta, event), x, n)[1]
    assert_close(found, expected, 0.0, relative=1e-5, what="the log-determinant of forward")
    found = back(scaling(student, -theta, event), x, n)[1]
    assert_close(found, expected, 0.0, relative=1e-5, what="the log-determinant of inverse")


@property_of(
    "tied-scaling",
    "The log-determinant comes from s itself: where e^s is 0 in a float, it is large and negative, not infinite.",
    hint_link=SCALING,
)
def test_scaling_vanishing_scales(student, rng):
    for shape, event, dtype, value in (((2, 1, 1), (2, 2, 2), F64, -800.0), ((), (6,), F32, -150.0)):
        assert_volume(student, rng, shape, event, dtype, value)


@property_of(
    "tied-scaling",
    "The product of many scales leaves the range of a float; the sum of their logarithms does not.",
    hint_link=SCALING,
)
def test_scaling_many_scales(student, rng):
    for shape, event, dtype, value in (
        ((40, 1), (40, 30), F64, -3.0),
        ((40, 1), (40, 30), F64, 3.0),
        ((30,), (30, 30), F32, 2.0),
    ):
        assert_volume(student, rng, shape, event, dtype, value)


@property_of(
    "tied-scaling",
    "log p(x) is the log-prior of the scaled entries, added up over a point, plus the log-determinant of the scaling, "
    "whatever the prior.",
    hint_link=SCALING,
)
def test_scaling_density(student, rng):
    for shape, event in SHAPES:
        center, width = float(randn(1, rng=rng)), float(uniform(1, rng=rng, low=0.5, high=3.0))
        prior = bench_of(student).prior(center, width, returns=handle())
        theta, x = randn(*shape, rng=rng), randn(7, *event, rng=rng)
        layer = scaling(student, theta, event)
        found = shuffled(lambda rows, f=layer.log_prob, p=prior: f(rows, p, returns=tensor(len(rows))), x, rng)
        assert_close(found, log_density(x, theta.expand(event), center, width), 1e-7, what="log p(x)")


@property_of("tied-scaling", "The density integrates to 1, with scales far from 1 too.", hint_link=SCALING)
def test_scaling_total_mass(student, rng):
    prior = bench_of(student).prior(0.5, 0.8, returns=handle())
    for shape, event, values in (((), (2,), (1.0, 1.0)), ((2,), (2,), (-1.0, 1.5)), ((1,), (3,), (-0.7,) * 3)):
        theta = torch.tensor(values, dtype=F64)[: max(1, math.prod(shape))].reshape(shape)
        layer = scaling(student, theta, event)
        width = torch.tensor([math.exp(-v) for v in values], dtype=F64)
        mass, error = total_mass(
            lambda x, f=layer.log_prob: f(x, prior, returns=tensor(len(x))),
            math.prod(event),
            rng,
            center=0.5 * width,
            scale=1.5 * width,
            samples=8000,
        )
        assert abs(mass - 1) < 6 * error + 0.02, f"the total mass is {mass:.3f}, with a standard error of {error:.3f}"


@property_of(
    "tied-scaling",
    "The spectrum holds what inverse does to each entry, e^-s, once for every entry of a point, the largest first.",
    hint_link=SCALING,
)
def test_scaling_spectrum(student, rng):
    for shape, event in SHAPES:
        theta = randn(*shape, rng=rng)
        layer = scaling(student, theta, event)
        found = layer.spectrum(returns=tensor(math.prod(event)))
        x = torch.ones(event, dtype=F64)
        stretched = back(layer, x, len(event))[0].flatten().sort(descending=True).values
        assert_close(found, stretched, 1e-12, relative=1e-12, what="the spectrum, against what inverse does,")
        expected = (-theta).exp().expand(event).flatten().sort(descending=True).values
        assert_close(found, expected, 1e-12, relative=1e-12, what="the spectrum")


@property_of(
    "tied-scaling",
    "There is one parameter, with shape, dtype and numbers of start, and it is a copy of it.",
    hint_link=SCALING,
)
def test_scaling_parameter(student, rng):
    bench = bench_of(student)
    for dtype in (F64, F32):
        for shape, event in SHAPES:
            start = randn(*shape, rng=rng, dtype=dtype)
            found = list(student.parameters(scaling(student, start, event)).values())
            assert len(found) == 1, f"the layer has {len(found)} parameters"
            assert_close(found[0], start, 0.0, what="the parameter")
            aside = bench.trains_aside("TiedScaling", start, event, returns=boolean())
            assert aside, "training the layer changed the tensor that it was started from"


@property_of("tied-scaling", "All results follow the present parameter; entries that share a scale go on sharing it.")
def test_scaling_training(student, rng):
    prior = bench_of(student).prior(0.0, 1.0, returns=handle())
    for shape, event in (((3, 1, 1), (3, 2, 2)), ((2,), (3, 2))):
        x, n = randn(4, *event, rng=rng), len(event)
        layer = scaling(student, randn(*shape, rng=rng), event)
        both(layer, x, n), back(layer, x, n)
        layer.log_prob(x, prior, returns=tensor(4)), layer.spectrum(returns=tensor(math.prod(event)))
        theta = randn(*shape, rng=rng)
        student.set_parameters(layer, dict.fromkeys(student.parameters(layer), theta))
        s = theta.expand(event)
        (z, log_det), (y, back_log_det) = both(layer, x, n), back(layer, x, n)
        assert_close(z, x * s.exp(), 1e-12, relative=1e-12, what="z after training")
        assert_close(y, x * (-s).exp(), 1e-12, relative=1e-12, what="x after training")
        assert_close(log_det, s.sum().expand(4), 1e-11, what="the log-determinant of forward after training")
        assert_close(back_log_det, -s.sum().expand(4), 1e-11, what="the log-determinant of inverse after training")
        found = layer.log_prob(x, prior, returns=tensor(4))
        assert_close(found, log_density(x, s, 0.0, 1.0), 1e-7, what="log p(x) after training")
        found = layer.spectrum(returns=tensor(math.prod(event)))
        expected = (-s).exp().flatten().sort(descending=True).values
        assert_close(found, expected, 1e-12, relative=1e-12, what="the spectrum after training")


@property_of(
    "tied-scaling",
    "Gradients reach the parameter through all results, and the points through both directions and the density.",
    hint_link=SCALING,
)
def test_scaling_gradients(student, rng):
    prior = bench_of(student).prior(0.2, 1.5, returns=handle())
    for shape, event in (((2, 1), (2, 3)), ((), (4,))):
        start, x, n = 0.5 * randn(*shape, rng=rng), randn(5, *event, rng=rng), len(event)
        layer = scaling(student, start, event)
        leaf = start.clone().requires_grad_()
        s = leaf.expand(event)
        wanted = {
            ("forward", 0): (x * s.exp()).sum(),
            ("forward", 1): 5 * s.sum(),
            ("inverse", 0): (x * (-s).exp()).sum(),
            ("inverse", 1): -5 * s.sum(),
            ("log_prob", None): log_density(x, s, 0.2, 1.5).sum(),
            ("spectrum", None): (-s).exp().sum(),
        }
        for (method, output), total in wanted.items():
            args = {"log_prob": [x, prior], "spectrum": []}.get(method, [x])
            expected = torch.autograd.grad(total, leaf, retain_graph=True)[0]
            found = list(student.gradients(layer, method, *args, output=output).values())
            reached = len(found) == 1 and found[0] is not None
            assert reached, f"no gradient reaches the parameter through {method}"
            assert_close(found[0], expected, 1e-9, relative=1e-9, what=f"the gradient of {method} for the parameter")
        assert_differentiable(student, layer, x, rng, n)
        found = student.input_gradient(layer.bound("log_prob"), x, prior, returns=tensor(*x.shape))
        points = x.clone().requires_grad_()
        expected = torch.autograd.grad(log_density(points, start.expand(event), 0.2, 1.5).sum(), points)[0]
        assert_close(found, expected, 1e-9, relative=1e-9, what="the gradient of log_prob for the points")


@property_of("tied-scaling", "float32 in, float32 out, in every result.", hint_link=SCALING)
def test_scaling_float32(student, rng):
    prior = bench_of(student).prior(0.0, 1.0, returns=handle())
    theta, x = randn(3, 1, rng=rng, dtype=F32), randn(4, 3, 2, rng=rng, dtype=F32)
    layer, s = scaling(student, theta, (3, 2)), theta.expand(3, 2)
    for found, sign in ((both(layer, x, 2), 1), (back(layer, x, 2), -1)):
        assert_close(found[0], x * (sign * s).exp(), 1e-4, relative=1e-4, what="a point")
        assert_close(found[1], sign * s.sum().expand(4), 1e-4, what="a log-determinant")
    found = layer.log_prob(x, prior, returns=tensor(4, dtype=F32))
    assert_close(found, log_density(x, s, 0.0, 1.0), 1e-3, what="log p(x)")
    found = layer.spectrum(returns=tensor(6, dtype=F32))
    assert_close(found, (-s).exp().flatten().sort(descending=True).values, 1e-4, relative=1e-4, what="the spectrum")


@property_of("tied-scaling", "The points that are handed in stay as they are.")
def test_scaling_leaves_tensors_alone(student, rng):
    layer, x = scaling(student, randn(2, 1, rng=rng), (2, 3)), randn(4, 2, 3, rng=rng)
    assert_left_alone(student, layer, x)
    bench = bench_of(student)
    prior = bench.prior(0.0, 1.0, returns=handle())
    kept = bench.leaves_alone(layer.bound("log_prob"), x, prior, returns=boolean())
    assert kept, "log_prob changed the points that it was given"


# ------------------------------------------------------------------------------- 4: a logistic density in the tails

PRECISION = {F64: (1e-8, 1e-8), F32: (1e-3, 1e-4)}


def log_prob(student, x, location, log_scale):
    shape = torch.broadcast_shapes(x.shape, location.shape, log_scale.shape)
    return student.logistic_log_prob(x, location, log_scale, returns=tensor(*shape, dtype=x.dtype))


def log_mass(student, low, high, location, log_scale):
    shape = torch.broadcast_shapes(low.shape, high.shape, location.shape, log_scale.shape)
    return student.logistic_log_mass(low, high, location, log_scale, returns=tensor(*shape, dtype=low.dtype))


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


def number(value, dtype=F64):
    return torch.tensor(value, dtype=dtype)


def some_logistics(count, rng, dtype=F64):
    """Locations and log-scales of different sizes."""
    return 3 * randn(count, rng=rng, dtype=dtype), uniform(count, rng=rng, low=-1.5, high=2.5, dtype=dtype)


# The slope at the location itself is left out: where two formulas meet, autograd may answer with that of either side.
SLOPED = [-1e4, -3e3, -100.0, -30.0, -1.3, 0.25, 0.75, 20.0, 50.0, 800.0, 1e4]
EXTREMES = [-1e4, -3e3, -100.0, -30.0, -1.0, 0.0, 0.5, 20.0, 50.0, 800.0, 1e4]


@property_of(
    "logistic",
    "The log-density near the location, for any location and scale, number by number.",
    hint_link=PRIORS,
)
def test_logistic_value(student, rng):
    for dtype in (F64, F32):
        location, log_scale = some_logistics(40, rng, dtype)
        x = location + 4 * randn(40, rng=rng, dtype=dtype)

        def ask(rows):
            return log_prob(student, *rows.unbind(dim=1))

        found = shuffled(ask, torch.stack([x, location, log_scale], dim=1), rng)
        assert_right(found, right_log_prob(x, location, log_scale), "the log-density")


@property_of("logistic", "The density integrates to 1, and so do the masses of intervals that cover the line.")
def test_logistic_total_mass(student, rng):
    for _ in range(3):
        location, log_scale = some_logistics(1, rng)
        width = float(log_scale.exp())
        mass, error = total_mass(
            lambda x, at=location, s=log_scale: log_prob(student, x, at, s),
            0,
            rng,
            center=float(location),
            scale=1.5 * width,
            samples=8000,
        )
        assert abs(mass - 1) < 6 * error + 0.01, f"the total mass is {mass:.3f}, with a standard error of {error:.3f}"
        inner, ends = torch.linspace(-6, 6, 25, dtype=F64), number([-math.inf, math.inf])
        edges = location + width * torch.cat([ends[:1], inner, ends[1:]])
        total = log_mass(student, edges[:-1], edges[1:], location, log_scale).exp().sum()
        assert_close(total, number(1.0), 1e-6, what="the sum of the masses")


def assert_tail(student, edges):
    """Require the log-density at these distances from the location, for small and large scales, in both dtypes."""
    for dtype in (F64, F32):
        log_scale = number([-20.0, -5.0, -1.0, 0.0, 1.0, 5.0, 20.0], dtype)[:, None]
        for location in (0.0, 7.25, 1e4 if edges[0] < 0 else -1e4):
            x, at = number(edges, dtype), number(location, dtype)
            found = log_prob(student, x, at, log_scale)
            assert_right(found, right_log_prob(x, at, log_scale), "the log-density")


@property_of(
    "logistic",
    "Far to the left the log-density falls like u, without overflow, in float32 as in float64.",
    hint_link=PRIORS,
)
def test_logistic_left_tail(student, rng):
    assert_tail(student, [-1e4, -3e3, -700.0, -100.0, -30.0, -15.2, -1.0, 0.0])


@property_of(
    "logistic",
    "Far to the right the log-density falls like -u, without overflow, in float32 as in float64.",
    hint_link=PRIORS,
)
def test_logistic_right_tail(student, rng):
    assert_tail(student, [8.0, 15.2, 20.0, 50.0, 89.0, 800.0, 5e3, 1e4])


@property_of("logistic", "All arguments broadcast, and nothing is added up.", hint_link=PRIORS)
def test_logistic_shapes(student, rng):
    for shapes in (((5,), (), ()), ((), (3,), ()), ((), (), (4,)), ((4, 1), (3,), (2, 1, 1)), ((2, 3),) * 3, ((),) * 3):
        x, location, log_scale = (randn(*shape, rng=rng) for shape in shapes)
        found = log_prob(student, x, location, log_scale)
        assert_right(found, right_log_prob(x, location, log_scale), "the log-density")
    for shapes in (((5,), (), (), ()), ((), (), (3,), ()), ((2,), (3, 1), (), (4, 1, 1)), ((),) * 4):
        low, extra, location, log_scale = (randn(*shape, rng=rng) for shape in shapes)
        high = low + 0.2 + extra.abs()
        found = log_mass(student, low, high, location, log_scale)
        assert_right(found, right_log_mass(low, high, location, log_scale), "the log-mass")


@property_of(
    "logistic",
    "The gradients of the log-density are right near the location and in the tails: -tanh(u/2) times 1 over the scale "
    "for x, and not NaN.",
    hint_link=PRIORS,
)
def test_logistic_gradients(student, rng):
    for dtype in (F64, F32):
        x = torch.cat([number(SLOPED, dtype), 3 * randn(6, rng=rng, dtype=dtype)])
        for location, log_scale in ((0.0, 0.0), (0.5, 1.5), (-3.0, -2.0), (1e4, 3.0), (0.0, -20.0)):
            given = (x, torch.full_like(x, location), torch.full_like(x, log_scale))
            u = (x.to(F64) - location) * math.exp(-log_scale)
            slope = -torch.tanh(u / 2) * math.exp(-log_scale)
            for wrt, expected in enumerate((slope, -slope, u * torch.tanh(u / 2) - 1)):
                spec = tensor(*x.shape, dtype=dtype)
                found = student.input_gradient("logistic_log_prob", *given, wrt=wrt, returns=spec)
                assert_right(found, expected, f"the gradient of the log-density for argument {wrt + 1}")


@property_of(
    "logistic",
    "The mass of an interval near the location, for any location and scale, number by number.",
    hint_link=PRIORS,
)
def test_logistic_mass_value(student, rng):
    for dtype in (F64, F32):
        location, log_scale = some_logistics(40, rng, dtype)
        low = location + 3 * randn(40, rng=rng, dtype=dtype)
        high = low + log_scale.exp().clamp_min(1.0) * uniform(40, rng=rng, low=0.2, high=4.0, dtype=dtype)

        def ask(rows):
            return log_mass(student, *rows.unbind(dim=1))

        rows = torch.stack([low, high, location, log_scale], dim=1)
        found = shuffled(ask, rows, rng, decoys=rows[:15].flip(0))
        assert_right(found, right_log_mass(low, high, location, log_scale), "the log-mass")


@property_of(
    "logistic",
    "To the right of the location F is nearly 1, and F(high) - F(low) is lost in rounding; to the left it is not.",
    hint_link=PRIORS,
)
def test_logistic_mass_on_the_right(student, rng):
    for dtype in (F64, F32):
        low, zero = number([5.0, 9.0, 15.0, 20.0, 40.0, 60.0, 75.0], dtype), number(0.0, dtype)
        for length in (0.5, 2.0, 20.0):
            found = log_mass(student, low, low + length, zero, zero)
            assert_right(found, right_log_mass(low, low + length, zero, zero), "the log-mass on the right")
            found = log_mass(student, -low - length, -low, zero, zero)
            assert_right(found, right_log_mass(-low - length, -low, zero, zero), "the log-mass on the left")


@property_of(
    "logistic",
    "In the tails, right as well as left, F(high) - F(low) is 0 or lost in rounding, but its logarithm is an ordinary "
    "number.",
    hint_link=PRIORS,
)
def test_logistic_mass_tails(student, rng):
    for dtype in (F64, F32):
        for location, log_scale, length in ((0, 0, 1), (0, 0, 30), (5, 2, 4), (-2, -4, 0.25), (1e4, -20, 2)):
            at, s = number(location, dtype), number(log_scale, dtype)
            low = number([v for v in EXTREMES if v < 1e4] + [9e3, 15.0, 37.0, -16.0, -40.0], dtype)
            high = low + length
            found = log_mass(student, low, high, at, s)
            assert_right(found, right_log_mass(low, high, at, s), "the log-mass in the tails")
        wide, half, zero = number(1e4, dtype), number(5e3, dtype), number(0.0, dtype)
        assert_right(log_mass(student, -wide, wide, zero, zero), zero, "the log-mass of nearly all of the line")
        assert_right(log_mass(student, -wide, -half, zero, zero), -half, "the log-mass of half of the left tail")
        assert_right(log_mass(student, half, wide, zero, zero), -half, "the log-mass of half of the right tail")
    low, s = number(EXTREMES[:-1]), number(20.0)
    found = log_mass(student, low, low + 0.5, number(0.0), s)
    assert_right(found, right_log_mass(low, low + 0.5, number(0.0), s), "the log-mass under a very large scale")


@property_of(
    "logistic",
    "low may be -infinity and high +infinity: what is left is the distribution function, its complement, or log 1.",
    hint_link=PRIORS,
)
def test_logistic_mass_infinite(student, rng):
    for dtype in (F64, F32):
        infinity, (location, log_scale) = number(math.inf, dtype), some_logistics(1, rng, dtype)
        edge = torch.cat([number(EXTREMES, dtype), 4 * randn(4, rng=rng, dtype=dtype)])
        u = (edge - location) * (-log_scale).exp()
        found = log_mass(student, -infinity, edge, location, log_scale)
        assert_right(found, logsigmoid(u), "the log-mass from -infinity")
        found = log_mass(student, edge, infinity, location, log_scale)
        assert_right(found, logsigmoid(-u), "the log-mass up to infinity")
        found = log_mass(student, -infinity, infinity, location, log_scale)
        assert_right(found, torch.zeros_like(location), "the log-mass of the whole line")
        mixed = log_mass(student, number([-math.inf, -1.0], dtype), number([0.5, math.inf], dtype), location, log_scale)
        low, high = number([-math.inf, -1.0], dtype), number([0.5, math.inf], dtype)
        assert_right(mixed, right_log_mass(low, high, location, log_scale), "the log-mass of half-open intervals")


@property_of(
    "logistic",
    "A thin interval holds its length times the density: 1 - e^-w keeps no digits of a tiny w, expm1 keeps all.",
    hint_link=PRIORS,
)
def test_logistic_mass_thin(student, rng):
    for log_scale in (0.0, 2.0, -3.0):
        s, zero = number(log_scale), number(0.0)
        width = math.exp(log_scale) * number([1e-12, 1e-11, 1e-9, 1e-5])
        found = log_mass(student, torch.zeros_like(width), width, zero, s)
        assert_right(found, width.log() - log_scale - math.log(4.0), "the log-mass of a thin interval")
    zero, width = torch.zeros(1), torch.full((1,), 0.1)
    assert_right(log_mass(student, zero, width, zero, zero), right_log_mass(zero, width, zero, zero), "the log-mass")


@property_of(
    "logistic",
    "The gradients of the log-mass for its ends are the densities there divided by the mass, in the tails too.",
    hint_link=PRIORS,
)
def test_logistic_mass_gradients(student, rng):
    low = torch.cat([number(SLOPED[:-1]), 3 * randn(6, rng=rng)])
    for location, log_scale, length in ((0, 0, 1), (0.5, 1.5, 3), (-3, -2, 0.5), (0, 0, 200), (2, 8, 0.5)):
        high, at, s = low + length, torch.full_like(low, location), torch.full_like(low, log_scale)
        mass = right_log_mass(low, high, at, s)
        at_high, at_low = ((right_log_prob(edge, at, s) - mass).exp() for edge in (high, low))
        stretch = (low - at) * at_low - (high - at) * at_high
        for wrt, expected in enumerate((-at_low, at_high, at_low - at_high, stretch)):
            found = student.input_gradient("logistic_log_mass", low, high, at, s, wrt=wrt, returns=tensor(*low.shape))
            what = f"the gradient of the log-mass for argument {wrt + 1}"
            assert_close(found, expected, 1e-5, relative=1e-5, what=what)
        low32, high32 = low.to(F32), high.to(F32)
        if length * math.exp(-log_scale) < 0.1:
            continue
        for wrt in range(4):
            given = (low32, high32, at.to(F32), s.to(F32))
            student.input_gradient("logistic_log_mass", *given, wrt=wrt, returns=tensor(*low.shape, dtype=F32))


@property_of("logistic", "The tensors that are handed in stay as they are.")
def test_logistic_leaves_tensors_alone(student, rng):
    bench, (location, log_scale) = bench_of(student), some_logistics(4, rng)
    x = randn(4, rng=rng)
    kept = bench.leaves_alone("logistic_log_prob", x, location, log_scale, returns=boolean())
    assert kept, "logistic_log_prob changed a tensor that it was given"
    kept = bench.leaves_alone("logistic_log_mass", x, x + 1, location, log_scale, returns=boolean())
    assert kept, "logistic_log_mass changed a tensor that it was given"


# ------------------------------------------------------------------------------------------- 5: inpainting


@dataclass
class Landscape:
    """A density of images by its numbers; its gradient is computed here."""

    center: torch.Tensor
    sharp: torch.Tensor
    mix: torch.Tensor
    scale: float = 1.0
    offset: float = 0.0

    def log_prob(self, x):
        bell = -(self.sharp * (x - self.center) ** 2).flatten(1).sum(dim=1)
        return self.scale * (bell + torch.sin(x.flatten(1) @ self.mix)) + self.offset

    def slope(self, x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(self.log_prob(x).sum(), x)[0]

    def beside(self, student):
        """The same density, beside the student's code."""
        numbers = (self.center, self.sharp, self.mix, self.scale, self.offset)
        return bench_of(student).density(*numbers, returns=handle())


def landscape(event, rng, dtype=F64, scale=1.0, offset=0.0):
    center, sharp = uniform(*event, rng=rng, dtype=dtype), uniform(*event, rng=rng, low=0.5, high=4.0, dtype=dtype)
    return Landscape(center, sharp, randn(math.prod(event), rng=rng, dtype=dtype), scale, offset)


def images(count, event, rng, dtype=F64):
    """Images away from 0 and 1, so that a short step is not clipped."""
    return uniform(count, *event, rng=rng, low=0.3, high=0.7, dtype=dtype)


def holes(x, rng):
    """Observed pixels at random, with at least two missing ones in every image."""
    observed = torch.rand(x.shape, generator=rng) < 0.5
    rows = observed.flatten(1)
    for row in rows:
        row[torch.randperm(len(row), generator=rng)[:2]] = False
    return rows.reshape(x.shape)


def stepped(x, observed, slope, step):
    """The new images, pixel by pixel as the statement says it."""
    new = x.clone()
    for image, kept, g in zip(new, observed, slope):
        missing = ~kept
        largest = g[missing].abs().max() if missing.any() else torch.tensor(0.0)
        push = step * (g[missing] / largest) if largest > 0 else torch.zeros_like(g[missing])
        image[missing] = (image[missing] + push).clamp(0, 1)
    return new


def step_of(student, density, x, observed, step, method="log_prob"):
    return student.inpainting_step(density.bound(method), x, observed, step, returns=tensor(*x.shape, dtype=x.dtype))


EVENTS = ((5,), (4, 3), (1, 4, 4), (3, 2, 3), (2,))


@property_of(
    "inpainting",
    "Missing pixels move along the gradient; the one with the steepest slope of its image moves by exactly step, the "
    "others in proportion.",
    hint_link=INPAINTING,
)
def test_inpainting_formula(student, rng):
    for event in EVENTS:
        for step in (1e-3, 0.125, float(uniform(1, rng=rng, low=0.01, high=0.2))):
            world, x = landscape(event, rng), images(6, event, rng)
            observed = holes(x, rng)
            found = step_of(student, world.beside(student), x, observed, step)
            assert_close(found, stepped(x, observed, world.slope(x), step), 1e-9)
            moved = (found - x).abs().flatten(1).amax(dim=1)
            assert_close(moved, torch.full((6,), step, dtype=F64), 1e-9, what="the longest move in an image")


@property_of(
    "inpainting",
    "Observed pixels come out exactly as they went in, also those outside of [0, 1].",
    hint_link=INPAINTING,
)
def test_inpainting_observed(student, rng):
    for dtype in (F64, F32):
        for event in EVENTS:
            world, x = landscape(event, rng, dtype), images(5, event, rng, dtype)
            observed = holes(x, rng)
            outside = observed & (torch.rand(x.shape, generator=rng) < 0.5)
            x = torch.where(outside, 20 * randn(*x.shape, rng=rng, dtype=dtype), x)
            found = step_of(student, world.beside(student), x, observed, 0.1)
            assert_close(found[observed], x[observed], 0.0, what="an observed pixel")
            assert (found != x)[~observed].any(), "no missing pixel was moved"


@property_of(
    "inpainting",
    "A short step raises the log-density of every image that has missing pixels.",
    hint_link=INPAINTING,
)
def test_inpainting_goes_uphill(student, rng):
    for event in EVENTS:
        world, x = landscape(event, rng, scale=50.0), images(6, event, rng)
        observed = holes(x, rng)
        found = step_of(student, world.beside(student), x, observed, 1e-5)
        assert (world.log_prob(found) > world.log_prob(x)).all(), "the log-density of an image did not rise"


@property_of(
    "inpainting",
    "The steepest slope is that of the image's own missing pixels: other images and observed pixels do not count.",
    hint_link=INPAINTING,
)
def test_inpainting_own_scale(student, rng):
    for event in ((6,), (1, 3, 3)):
        world, x = landscape(event, rng), images(6, event, rng)
        observed = holes(x, rng)
        far = torch.where(observed, 50.0, x)
        far[3:] = x[3:]
        density = world.beside(student)
        slope = world.slope(far)

        def ask(rows, density=density, event=event):
            points = rows[:, 0]
            return step_of(student, density, points.contiguous(), rows[:, 1] > 0.5, 0.05)

        both_parts = torch.stack([far, observed.to(F64)], dim=1)
        decoys = torch.stack([30 * torch.ones(3, *event, dtype=F64), torch.zeros(3, *event, dtype=F64)], dim=1)
        found = shuffled(ask, both_parts, rng, decoys=decoys)
        assert_close(found, stepped(far, observed, slope, 0.05), 1e-9)


@property_of(
    "inpainting",
    "The step is measured in pixels: very small and very large slopes, and log-densities far from 0, change nothing.",
    hint_link=INPAINTING,
)
def test_inpainting_slopes_of_any_size(student, rng):
    for dtype, tolerance in ((F64, 1e-9), (F32, 1e-5)):
        for scale in (1e-30, 1e-12, 1e-6, 1.0, 1e6, 1e30):
            world, x = landscape((2, 3), rng, dtype, scale=scale), images(4, (2, 3), rng, dtype)
            observed = holes(x, rng)
            one = Landscape(world.center, world.sharp, world.mix)
            found = step_of(student, world.beside(student), x, observed, 0.1)
            assert_close(found, stepped(x, observed, one.slope(x), 0.1), tolerance)
        for offset in (-1e5, 1e5):
            world = landscape((2, 3), rng, dtype, offset=offset)
            found = step_of(student, world.beside(student), x, observed, 0.1)
            assert_close(found, stepped(x, observed, world.slope(x), 0.1), tolerance)


@property_of(
    "inpainting",
    "Where all slopes of the missing pixels are 0 nothing is added (0/0 is NaN); the other images move all the same.",
    hint_link=INPAINTING,
)
def test_inpainting_flat(student, rng):
    for event in ((4,), (1, 2, 3)):
        world, x = landscape(event, rng), images(4, event, rng)
        world.mix.zero_()
        observed = holes(x, rng)
        x[1] = torch.where(observed[1], x[1], world.center)
        x[2], observed[2] = world.center, False
        found = step_of(student, world.beside(student), x, observed, 0.1)
        assert_close(found, stepped(x, observed, world.slope(x), 0.1), 1e-9)
        assert_close(found[1:3], x[1:3], 0.0, what="an image with slopes of 0")


@property_of(
    "inpainting",
    "Where all slopes are equal every missing pixel moves by step, up or down, whatever tensor autograd keeps them in.",
    hint_link=INPAINTING,
)
def test_inpainting_even_slopes(student, rng):
    for event in EVENTS:
        for slope in (3.0, -0.25):
            density = bench_of(student).even_density(slope, returns=handle())
            x = images(5, event, rng)
            observed = holes(x, rng)
            found = student.inpainting_step(density, x, observed, 0.1, returns=tensor(*x.shape))
            assert_close(found, torch.where(observed, x, x + math.copysign(0.1, slope)), 1e-9)


@property_of(
    "inpainting",
    "All pixels of an image may be observed, then it stays as it is; or none, then all may move.",
    hint_link=INPAINTING,
)
def test_inpainting_all_or_none(student, rng):
    for event in ((4,), (1, 2, 3)):
        world, x = landscape(event, rng), images(4, event, rng)
        for observed in (torch.ones(x.shape, dtype=torch.bool), torch.zeros(x.shape, dtype=torch.bool), holes(x, rng)):
            observed[1], observed[2] = True, False
            for rows in (slice(None), slice(1, 2), slice(2, 3)):
                given = x[rows].contiguous()
                found = step_of(student, world.beside(student), given, observed[rows].contiguous(), 0.1)
                expected = stepped(given, observed[rows], world.slope(given), 0.1)
                assert_close(found, expected, 1e-9)


@property_of(
    "inpainting",
    "Missing pixels are clipped to [0, 1], at both ends, after the step; also those that did not move.",
    hint_link=INPAINTING,
)
def test_inpainting_clips(student, rng):
    for event in ((6,), (2, 2, 3)):
        world, x = landscape(event, rng), uniform(6, *event, rng=rng, low=-0.5, high=1.5)
        observed = holes(x, rng)
        for step in (0.1, 0.9, 5.0):
            found = step_of(student, world.beside(student), x, observed, step)
            ends = {"below 0": (found[~observed] < 0).any(), "above 1": (found[~observed] > 1).any()}
            outside = [words for words, hit in ends.items() if hit]
            assert not outside, f"there are missing pixels {' and '.join(outside)}"
            assert_close(found, stepped(x, observed, world.slope(x), step), 1e-9)
        flat = Landscape(world.center, torch.zeros_like(world.sharp), torch.zeros_like(world.mix))
        found = step_of(student, flat.beside(student), x, observed, 0.1)
        assert_close(found, torch.where(observed, x, x.clamp(0, 1)), 0.0, what="an image that only is clipped")


@property_of(
    "inpainting",
    "The slope for an observed pixel may be infinite or NaN: it must not matter, not even times 0.",
    hint_link=INPAINTING,
)
def test_inpainting_broken_slopes(student, rng):
    density = bench_of(student).edge_density(returns=handle())  # the slope is infinite at 0 and NaN below
    for event in ((5,), (1, 3, 2)):
        for dtype in (F64, F32):
            for broken in (0.0, -1.0):
                x = images(4, event, rng, dtype)
                observed = holes(x, rng)
                observed[1:].flatten(1)[:, 0] = True
                x = torch.where(observed & (torch.rand(x.shape, generator=rng) < 0.7), broken, x)
                x[1:].flatten(1)[:, 0] = broken
                found = student.inpainting_step(density, x, observed, 0.05, returns=tensor(*x.shape, dtype=dtype))
                expected = stepped(x, observed, 1 / x + 0.5 / x.sqrt(), 0.05)
                assert_close(found, expected, 1e-5)


@property_of("inpainting", "log_prob is called once, with the whole batch: on images its call is what costs.")
def test_inpainting_calls_once(student, rng):
    for count in (1, 5):
        world, x = landscape((2, 3), rng), images(count, (2, 3), rng)
        density = world.beside(student)
        step_of(student, density, x, holes(x, rng), 0.1)
        assert density.called_once_with(count, returns=boolean()), "log_prob was not called once with the whole batch"


@property_of(
    "inpainting",
    "The step works inside torch.no_grad() too, and its result requires no gradient.",
    hint_link=INPAINTING,
)
def test_inpainting_without_grad(student, rng):
    bench, world, x = bench_of(student), landscape((2, 3), rng), images(4, (2, 3), rng)
    observed, density = holes(x, rng), world.beside(student)
    found = bench.step_without_grad(density, x, observed, 0.1, returns=tensor(*x.shape))
    assert_close(found, stepped(x, observed, world.slope(x), 0.1), 1e-9, what="the result inside no_grad")
    for demanding in (False, True):
        plain = bench.step_is_plain(density, x, observed, demanding, returns=boolean())
        assert plain, "the result requires a gradient"


@property_of(
    "inpainting",
    "No traces are left: the images, the mask and the gradients of the model's parameters stay as they are.",
    hint_link=INPAINTING,
)
def test_inpainting_leaves_no_traces(student, rng):
    bench, world, x = bench_of(student), landscape((2, 3), rng), images(4, (2, 3), rng)
    observed, density = holes(x, rng), world.beside(student)
    kept = bench.leaves_alone("inpainting_step", density.bound("log_prob"), x, observed, 0.1, returns=boolean())
    assert kept, "the images, or the mask, were changed, or the images require a gradient now"
    kept = bench.step_leaves_gradients(density, x, observed, returns=boolean())
    assert kept, "the gradients of the model's parameters were changed"
    again = step_of(student, density, x, observed, 0.1)
    assert_close(again, step_of(student, density, x, observed, 0.1), 0.0, what="the same step, made again,")


@property_of("inpainting", "float32 in, float32 out.", hint_link=INPAINTING)
def test_inpainting_float32(student, rng):
    for event in EVENTS:
        world, x = landscape(event, rng, F32), images(4, event, rng, F32)
        observed = holes(x, rng)
        found = step_of(student, world.beside(student), x, observed, 0.1)
        assert_close(found, stepped(x, observed, world.slope(x), 0.1), 1e-5)
