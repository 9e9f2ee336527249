"""Hidden suite of the exercises of chapter 4: Real NVP.

Every input is drawn anew from the seed. Networks and steps that are handed to the student's code run beside it; what
they should give is computed here, from their numbers, so that nothing depends on what became of them there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from course_flows.grading.suite import (
    assert_close,
    boolean,
    finite_difference_jacobian,
    finite_difference_log_det,
    handle,
    integer,
    property_of,
    same_distribution,
    shuffled,
    tensor,
    total_mass,
)

COUPLING, BOUND, MASKS = "sec-real-nvp-affine", "sec-real-nvp-bound", "sec-real-nvp-masks"
SQUEEZE, LEVELS, MOONS = "sec-real-nvp-squeeze", "sec-real-nvp-multiscale", "sec-real-nvp-moons"
F32, F64 = torch.float32, torch.float64
HIDDEN = 6

# Runs beside the student's code: networks, steps, and a witness of what shows only where a call is made.
BENCH = """
import sys

class PairNet(torch.nn.Module):
    def __init__(self, first, bias, second, event, mask, junk=None, jumps=False):
        super().__init__()
        self.first, self.bias, self.second = (torch.nn.Parameter(part.clone()) for part in (first, bias, second))
        self.event, self.mask, self.junk, self.jumps, self.calls = tuple(event), mask.clone(), junk, jumps, 0

    def forward(self, x):
        self.calls += 1
        if tuple(x.shape[x.dim() - len(self.event):]) != self.event:
            raise ValueError(f"a network for points of shape {self.event} was given the shape {tuple(x.shape)}")
        flat = x.flatten(-len(self.event))
        if self.jumps:
            out = torch.sin(1e13 * flat).sum(dim=-1, keepdim=True) * self.second[0]
        else:
            out = torch.tanh(flat @ self.first + self.bias) @ self.second
        r, t = (part.unflatten(-1, self.event) for part in out.chunk(2, dim=-1))
        if self.junk is not None:
            r, t = (torch.where(self.mask, self.junk, part) for part in (r, t))
        return r, t

    def count(self):
        return self.calls

class Step(torch.nn.Module):
    def __init__(self, weight, bias, fold):
        super().__init__()
        self.weight, self.bias, self.fold = torch.nn.Parameter(weight.clone()), torch.nn.Parameter(bias.clone()), fold

    def forward(self, x):
        if self.fold:
            x = torch.cat([x[..., 0::2], x[..., 1::2]], dim=-3)
        v = torch.einsum("oc,...chw->...ohw", self.weight, x) + self.bias
        return v + 0.6 * (v * v + 1).sqrt(), self.log_det(v)

    def inverse(self, z):
        v = (z - 0.6 * (z * z + 0.64).sqrt()) / 0.64
        x = torch.einsum("oc,...chw->...ohw", torch.linalg.inv(self.weight), v - self.bias)
        if self.fold:
            x = torch.stack(x.chunk(2, dim=-3), dim=-1).flatten(-2)
        return x, -self.log_det(v)

    def log_det(self, v):
        slopes = torch.log(1 + 0.6 * v / (v * v + 1).sqrt()).flatten(-3).sum(dim=-1)
        return v.shape[-1] * v.shape[-2] * torch.linalg.slogdet(self.weight).logabsdet + slopes

class Prior(torch.nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(weight.clone()), torch.nn.Parameter(bias.clone())

    def forward(self, h):
        if h.shape[-3] != self.weight.shape[1]:
            raise ValueError(f"a network that reads {self.weight.shape[1]} channels was given {h.shape[-3]} of them")
        return torch.tanh(torch.einsum("oc,...chw->...ohw", self.weight, h)) + self.bias

def callable_of(target):
    return getattr(sys.modules["__main__"], target) if isinstance(target, str) else target

class Bench:
    net, step, prior = PairNet, Step, Prior

    def weighed(self, target, x, factors, rows, columns):
        return (callable_of(target)(x, rows, columns) * factors).sum()

    def leaves_alone(self, target, *args):
        flat = [part for value in args for part in (value if isinstance(value, (list, tuple)) else [value])]
        tensors = [value for value in flat if isinstance(value, torch.Tensor)]
        before = [(value.clone(), value.requires_grad) for value in tensors]
        callable_of(target)(*args)
        return all(torch.equal(new, old) and new.requires_grad == flag for new, (old, flag) in zip(tensors, before))

    def refuses(self, target, *args):
        try:
            callable_of(target)(*args)
        except ValueError:
            return True
        return False

    def decode(self, flow, *latents):
        return flow.decode(latents)

    def fit_moons(self, points):
        before = points.clone()
        return callable_of("fit_moons")(points), torch.equal(points, before)

    def loads_aside(self, mask, net, limit, other):
        before = mask.clone()
        callable_of("BoundedCoupling")(mask, net, limit).load_state_dict(other.state_dict())
        return torch.equal(mask, before)

bench = Bench()
"""


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


def one_of(method, event_ndim=1, part=0):
    """A direction as a function that returns the points only, or the log-determinants only."""
    return lambda x: method(x, returns=pair(x, event_ndim))[part]


def assert_left_alone(student, *calls):
    """Require calls, each a list of a target and its arguments, to leave the tensors they are given as they are."""
    for target, *args in calls:
        kept = bench_of(student).leaves_alone(target, *args, returns=boolean())
        assert kept, "a tensor that was handed in was changed"


def assert_refused(student, cases):
    """Require a ValueError of every case: words, target and arguments."""
    bench = bench_of(student)
    accepted = [words for words, target, *args in cases if not bench.refuses(target, *args, returns=boolean())]
    assert not accepted, f"no ValueError was raised for {', '.join(accepted)}"


# -------------------------------------------------------------------- 1: a bounded coupling from the other side


@dataclass
class Law:
    """The numbers of a coupling and its network, and what both directions should give."""

    mask: torch.Tensor
    event: tuple[int, ...]
    limit: float
    first: torch.Tensor
    bias: torch.Tensor
    second: torch.Tensor

    @property
    def ndim(self):
        return len(self.event)

    def parts(self):
        return [self.first, self.bias, self.second]

    def changed(self, change):
        return Law(self.mask, self.event, self.limit, *(change(part) for part in self.parts()))

    def terms(self, points):
        """Log-scale and shift of every entry, 0 where it is kept; the sum of the log-scales of a point."""
        kept = torch.where(self.mask, points, 0).flatten(-self.ndim)
        out = torch.tanh(kept @ self.first + self.bias) @ self.second
        r, t = (part.unflatten(-1, self.event) for part in out.chunk(2, dim=-1))
        a = torch.where(self.mask, 0, self.limit * torch.nn.functional.softsign(r))
        return a, torch.where(self.mask, 0, t), a.flatten(-self.ndim).sum(dim=-1)

    def forward(self, x):
        a, t, total = self.terms(x)
        return (x - t) / a.exp(), -total

    def inverse(self, z):
        a, t, total = self.terms(z)
        return z * a.exp() + t, total


def random_mask(shape, rng):
    """A mask in which at least one entry is kept and one is moved."""
    mask = torch.rand(math.prod(shape), generator=rng) < 0.5
    order = torch.randperm(len(mask), generator=rng)
    mask[order[0]], mask[order[-1]] = False, len(mask) > 1
    return mask.reshape(shape)


def some_law(shape, event, rng, size=1.0, dtype=F64, limit=None):
    count = math.prod(event)
    first = randn(count, HIDDEN, rng=rng) / math.sqrt(count)
    parts = (first, randn(HIDDEN, rng=rng), size * randn(HIDDEN, 2 * count, rng=rng))
    limit = limit or float(uniform(1, rng=rng, low=0.5, high=2.5))
    return Law(random_mask(shape, rng), event, limit, *(part.to(dtype) for part in parts))


def coupling_and_net(student, law, junk=None, jumps=False):
    net = bench_of(student).net(*law.parts(), law.event, law.mask, junk, jumps, returns=handle())
    return student.BoundedCoupling(law.mask, net, law.limit, returns=handle()), net


def coupling(student, law, junk=None, jumps=False):
    return coupling_and_net(student, law, junk, jumps)[0]


# Masks and points; the second ones differ where broadcasting is done from the wrong end or over the wrong dimension.
EVENTS = (
    ((5,), (5,)),
    ((1, 3, 2), (2, 3, 2)),
    ((3, 1, 1), (3, 2, 2)),
    ((2, 2, 3), (2, 2, 3)),
    ((3, 1), (3, 3)),
    ((1, 3), (3, 3)),
)


def assert_lawful(flow, law, x, tolerance=1e-10, what=""):
    """Require of both directions what the law says of them."""
    for found, right in ((both(flow, x, law.ndim), law.forward(x)), (back(flow, x, law.ndim), law.inverse(x))):
        assert_close(found[0], right[0], tolerance, relative=tolerance, what=f"a point{what}")
        assert_close(found[1], right[1], tolerance, what=f"a log-determinant{what}")


def assert_points(student, rng, name):
    """Require the points of one direction, for many masks."""
    for shape, event in EVENTS:
        for size in (0.5, 5.0):
            law, x = some_law(shape, event, rng, size), randn(7, *event, rng=rng)
            method = getattr(coupling(student, law), name)
            found = shuffled(one_of(method, law.ndim), x, rng)
            assert_close(found, getattr(law, name)(x)[0], 1e-10, relative=1e-10, what="a point")


def assert_log_dets(student, rng, name):
    """Require the log-determinants of one direction to be those of its map, for many masks."""
    for shape, event in EVENTS:
        law, x = some_law(shape, event, rng), randn(3, *event, rng=rng)
        method = getattr(coupling(student, law), name)
        found = shuffled(one_of(method, law.ndim, 1), x, rng)
        expected = finite_difference_log_det(one_of(method, law.ndim), x, rng)
        assert_close(found, expected, 1e-6, what="the log-determinant, against that of differences,")
        assert_close(found, getattr(law, name)(x)[1], 1e-10, what="the log-determinant")


@property_of(
    "bounded-coupling",
    "inverse multiplies what is moved by e^a and then shifts it, with a = c r / (1 + |r|), each entry by its own.",
    hint_link=COUPLING,
)
def test_coupling_inverse(student, rng):
    assert_points(student, rng, "inverse")


@property_of(
    "bounded-coupling",
    "forward undoes the formula: it takes the shift away first and then divides by e^a.",
    hint_link=COUPLING,
)
def test_coupling_forward(student, rng):
    assert_points(student, rng, "forward")


@property_of(
    "bounded-coupling",
    "The log-determinant of inverse is that of its map z -> x: the sum of a over all entries that are moved.",
    hint_link=COUPLING,
)
def test_coupling_log_det_of_inverse(student, rng):
    assert_log_dets(student, rng, "inverse")


@property_of(
    "bounded-coupling",
    "The log-determinant of forward is that of its map x -> z, which shrinks where the other one stretches.",
    hint_link=COUPLING,
)
def test_coupling_log_det_of_forward(student, rng):
    assert_log_dets(student, rng, "forward")


@property_of("bounded-coupling", "What is kept comes out with the same bits, large or small.", hint_link=COUPLING)
def test_coupling_keeps_bits(student, rng):
    law = some_law((1, 3, 3), (2, 3, 3), rng)
    flow, kept = coupling(student, law), law.mask.expand(law.event)
    for scale in (1e-300, 1e-5, 1.0, 1e5, 1e300):
        x = scale * randn(4, *law.event, rng=rng)
        for z in (both(flow, x, 3)[0], back(flow, x, 3)[0]):
            assert_close(z[:, kept], x[:, kept], 0.0, what="an entry that is kept")


@property_of(
    "bounded-coupling",
    "There and back, and back and there, to the last digits: in both directions the network reads exactly the same "
    "numbers, so that it may jump.",
    hint_link=COUPLING,
)
def test_coupling_round_trip(student, rng):
    for dtype, limit in ((F64, 2.3e-16), (F32, 1.2e-7)):
        law = some_law((5,), (5,), rng, 10.0, dtype, limit=1.0)
        for jumps in (False, True):
            flow = coupling(student, law, None, jumps)
            for scale in (1.0, 1e4):
                x = scale * randn(6, 5, rng=rng, dtype=dtype)
                z, y = both(flow, x)[0], back(flow, x)[0]
                allowed = 100 * limit * float(max(x.abs().max(), z.abs().max(), y.abs().max()))
                assert_close(back(flow, z)[0], x, allowed, what="inverse(forward(x))")
                assert_close(both(flow, y)[0], x, allowed, what="forward(inverse(z))")
                single = back(flow, z[2:3])[0]
                assert_close(single, x[2:3], allowed, what="inverse of a batch of one point")


@property_of(
    "bounded-coupling",
    "What the network returns for kept entries must not matter, not even where it is NaN: 0 times NaN is NaN.",
    hint_link=COUPLING,
)
def test_coupling_ignores_junk(student, rng):
    for shape, event in EVENTS:
        law, x = some_law(shape, event, rng), randn(4, *event, rng=rng)
        for junk in (math.nan, math.inf, -math.inf, 1e300, 0.7):
            assert_lawful(coupling(student, law, junk), law, x)


@property_of("bounded-coupling", "However large the raw log-scale r is, a lies between -c and c.", hint_link=BOUND)
def test_coupling_bound(student, rng):
    for dtype, size in ((F64, 1e30), (F32, 1e30), (F64, 1e3), (F32, 1e6)):
        law = some_law((1, 2, 2), (3, 2, 2), rng, size, dtype)
        flow, x = coupling(student, law), randn(5, 3, 2, 2, rng=rng, dtype=dtype)
        found = back(flow, x, 3)[1]
        bound = law.limit * 3 * int((~law.mask).sum())
        assert (found.abs() <= bound * 1.0001).all(), "the log-determinant is larger than c times the moved entries"
        assert_close(found, law.inverse(x)[1], 1e-3, relative=1e-4, what="the log-determinant of inverse")
        assert_close(both(flow, x, 3)[1], law.forward(x)[1], 1e-3, relative=1e-4, what="the log-determinant of forward")


@property_of(
    "bounded-coupling",
    "The log-determinants come from a itself: where e^a is 0 in a float, its logarithm is an ordinary number.",
    hint_link=BOUND,
)
def test_coupling_vanishing_scales(student, rng):
    for dtype, limit in ((F32, 150.0), (F64, 900.0)):
        law = some_law((5,), (5,), rng, 0.0, dtype, limit=limit)
        for sign in (1, -1):
            # A network whose first unit is on: it returns the raw log-scale 1e9 or -1e9 and no shift.
            second = torch.zeros_like(law.second)
            second[0, :5] = sign * 1e9
            fixed = Law(law.mask, law.event, limit, 0 * law.first, 10 + 0 * law.bias, second)
            flow, x = coupling(student, fixed), randn(3, 5, rng=rng, dtype=dtype)
            moved = int((~law.mask).sum())
            for method, total in ((flow.forward, -sign * limit * moved), (flow.inverse, sign * limit * moved)):
                points = tensor(3, 5, dtype=dtype, finite=total < 0)  # where the direction stretches, they overflow
                found = method(x, returns=(points, tensor(3, dtype=dtype)))[1]
                expected = torch.full((3,), total, dtype=dtype)
                assert_close(found, expected, 0.0, relative=1e-5, what="the log-determinant")


@property_of(
    "bounded-coupling", "Any number of batch dimensions, also none, for vectors as for images.", hint_link=COUPLING
)
def test_coupling_batches(student, rng):
    for shape, event in (((5,), (5,)), ((1, 3, 2), (2, 3, 2)), ((2, 2), (2, 2))):
        law = some_law(shape, event, rng)
        flow = coupling(student, law)
        for batch in ((), (1,), (3,), (2, 2), (2, 1, 3)):
            assert_lawful(flow, law, randn(*batch, *event, rng=rng))


@property_of("bounded-coupling", "float32 in, float32 out: points and log-determinants.", hint_link=COUPLING)
def test_coupling_float32(student, rng):
    law = some_law((1, 3, 2), (2, 3, 2), rng, dtype=F32)
    assert_lawful(coupling(student, law), law, randn(4, 2, 3, 2, rng=rng, dtype=F32), 1e-4)


@property_of("bounded-coupling", "The network is called once in each direction: its call is what costs.")
def test_coupling_calls_once(student, rng):
    for batch in ((), (4,), (2, 3)):
        law = some_law((4,), (4,), rng)
        (flow, net), x = coupling_and_net(student, law), randn(*batch, 4, rng=rng)
        for direction, name in ((both, "forward"), (back, "inverse")):
            before = net.count(returns=integer())
            direction(flow, x)
            calls = net.count(returns=integer()) - before
            assert calls == 1, f"{name} called the network {calls} times"


def assert_gradients(student, flow, law, x):
    """Require the gradients of all parameters and of the points, through both values of both directions."""
    parts = (law.parts(), student.parameters(flow).values())
    wanted, shapes = (sorted(tuple(part.shape) for part in some) for some in parts)
    assert shapes == wanted, "the parameters of the coupling are not those of its network"
    leaves = law.changed(lambda part: part.clone().requires_grad_())
    for method in ("forward", "inverse"):
        for output in (0, 1):
            points = x.clone().requires_grad_()
            total = getattr(leaves, method)(points)[output].sum()
            *right, at_points = torch.autograd.grad(total, [*leaves.parts(), points])
            where = f"through {('the points', 'the log-determinants')[output]} of {method}"
            for name, found in student.gradients(flow, method, x, output=output).items():
                assert found is not None, f"no gradient reaches the parameter {name} {where}"
                expected = next(part for part in right if part.shape == found.shape)
                assert_close(found, expected, 1e-8, relative=1e-8, what=f"the gradient of {name} {where}")
            found = student.input_gradient(flow.bound(method), x, output=output, returns=tensor(*x.shape))
            assert_close(found, at_points, 1e-8, relative=1e-8, what=f"the gradient of the points {where}")


@property_of(
    "bounded-coupling",
    "The parameters are those of the network, and gradients reach them and the points through both values of both "
    "directions.",
    hint_link=COUPLING,
)
def test_coupling_gradients(student, rng):
    for shape, event in (((5,), (5,)), ((1, 2, 2), (2, 2, 2))):
        law, x = some_law(shape, event, rng), randn(4, *event, rng=rng)
        assert_gradients(student, coupling(student, law), law, x)


@property_of(
    "bounded-coupling",
    "Gradients are ordinary numbers, however large r is for kept entries: infinity in the branch that torch.where does "
    "not take still makes NaN in the gradient.",
    hint_link=BOUND,
)
def test_coupling_gradients_beside_junk(student, rng):
    for shape, event in (((5,), (5,)), ((2, 2, 2), (2, 2, 2))):
        law, x = some_law(shape, event, rng, 1e-3, limit=900.0), randn(4, *event, rng=rng)
        law.second[:, : math.prod(event)][:, law.mask.flatten()] = 1e9
        assert_gradients(student, coupling(student, law), law, x)


@property_of(
    "bounded-coupling",
    "At r = 0 the log-scale has the slope c: networks often begin there, with zeros in their last layer, and learn.",
    hint_link=BOUND,
)
def test_coupling_slope_at_zero(student, rng):
    law = some_law((1, 2, 2), (2, 2, 2), rng, 0.0)
    assert_gradients(student, coupling(student, law), law, randn(4, 2, 2, 2, rng=rng))


@property_of(
    "bounded-coupling", "The network's present numbers count: training changes them after the coupling was built."
)
def test_coupling_training(student, rng):
    law, x = some_law((5,), (5,), rng), randn(4, 5, rng=rng)
    flow, net = coupling_and_net(student, law)
    for owner, factor in ((flow, -1.5), (net, 0.4)):
        both(flow, x), back(flow, x)
        student.set_parameters(owner, {name: factor * part for name, part in student.parameters(owner).items()})
        law = law.changed(lambda part, by=factor: by * part)
        assert_lawful(flow, law, x, what=" after training")


@property_of(
    "bounded-coupling",
    "The mask is part of the state dictionary: after loading both directions are the loaded ones, and no mask of "
    "somebody else was written into.",
)
def test_coupling_reload(student, rng):
    for shape, event in (((5,), (5,)), ((1, 2, 3), (2, 2, 3))):
        law, x = some_law(shape, event, rng, limit=1.3), randn(4, *event, rng=rng)
        other = some_law(shape, event, rng, limit=1.3)
        other.mask = ~law.mask
        source, target = coupling(student, law), coupling(student, other)
        both(target, x, law.ndim), back(target, x, law.ndim)
        student.load_state_dict(target, student.state_dict(source))
        assert_lawful(target, law, x, what=" of the reloaded coupling")
        bench = bench_of(student)
        net = bench.net(*other.parts(), event, other.mask, returns=handle())
        kept = bench.loads_aside(other.mask, net, 1.3, source, returns=boolean())
        assert kept, "loading wrote into a mask that the coupling was built from"


@property_of("bounded-coupling", "A limit that is not positive raises a ValueError.", hint_link=BOUND)
def test_coupling_refuses(student, rng):
    law = some_law((4,), (4,), rng)
    net = bench_of(student).net(*law.parts(), law.event, law.mask, returns=handle())
    assert_refused(student, [(f"a limit of {c}", "BoundedCoupling", law.mask, net, c) for c in (0.0, -1.5, 0, -2)])


@property_of("bounded-coupling", "The points and masks that are handed in stay as they are.")
def test_coupling_leaves_tensors_alone(student, rng):
    law = some_law((1, 2, 2), (2, 2, 2), rng)
    flow, net = coupling_and_net(student, law)
    x = randn(3, 2, 2, 2, rng=rng)
    directions = [(flow.bound(method), x) for method in ("forward", "inverse")]
    assert_left_alone(student, *directions, ("BoundedCoupling", law.mask, net, law.limit))


# ------------------------------------------------------------------------------------- 2: masks for every turn


def right_board(shape, size=1, flip=False):
    """The board, entry by entry."""
    C, H, W = shape
    return torch.tensor(
        [[[(c + h // size + w // size) % 2 == int(flip) for w in range(W)] for h in range(H)] for c in range(C)]
    )


def right_turn(shape, groups, turn):
    C, H, W = shape
    return torch.tensor([[[c % groups != turn % groups] * W] * H for c in range(C)])


def assert_mask(found, expected, what):
    """Require a mask; say how many of its entries are wrong."""
    wrong, total = int((found != expected).sum()), found.numel()
    assert not wrong, f"{what} is wrong in {wrong} of {total} entries"


def board(student, shape, *args, **kwargs):
    return student.checkerboard(shape, *args, **kwargs, returns=tensor(*shape, dtype=torch.bool))


def turned(student, shape, groups, turn):
    return student.channel_turn(shape, groups, turn, returns=tensor(*shape, dtype=torch.bool))


def schedule(student, shape, size, groups, count):
    return student.mask_schedule(shape, size, groups, count, returns=tensor(count, *shape, dtype=torch.bool))


SIZES = ((2, 3, 5), (1, 4, 4), (1, 1, 1), (3, 4, 2), (4, 1, 6), (5, 7, 1))


def some_shape(rng):
    return whole(2, 5, rng), whole(2, 6, rng), whole(2, 6, rng)


@property_of(
    "masks",
    "With squares of one pixel, entries whose channel, row and column add up to an even number are kept, and neighbors "
    "along each of the three have different colors.",
    hint_link=MASKS,
)
def test_board_of_pixels(student, rng):
    for shape in (*SIZES, some_shape(rng), some_shape(rng)):
        for given in (shape, list(shape)):
            assert_mask(board(student, given), right_board(shape), "the checkerboard")
        assert_mask(board(student, shape, 1), right_board(shape), "the checkerboard of size 1")


@property_of(
    "masks",
    "A larger size makes squares of size by size pixels, cut off where they meet the edge; the colors of neighboring "
    "channels still differ.",
    hint_link=MASKS,
)
def test_board_of_squares(student, rng):
    for shape in (*SIZES, some_shape(rng)):
        for size in (2, 3, 4, 9):
            found = board(student, shape, size=size)
            assert_mask(found, right_board(shape, size), f"the checkerboard of size {size}")


@property_of("masks", "flip exchanges what is kept and what is moved, for every size.", hint_link=MASKS)
def test_board_flips(student, rng):
    for shape in (*SIZES, some_shape(rng)):
        for size in (1, 2, 3):
            flipped = board(student, shape, size, True)
            assert_mask(flipped, right_board(shape, size, True), f"the flipped checkerboard of size {size}")


@property_of(
    "masks",
    "In its turn a group of channels is moved, and all others are kept: channel c belongs to group c modulo groups.",
    hint_link=MASKS,
)
def test_turns(student, rng):
    for shape in ((2, 1, 1), (4, 2, 3), (5, 3, 2), (7, 1, 2), some_shape(rng)):
        for groups in range(2, shape[0] + 1):
            for turn in range(groups):
                found = turned(student, shape if turn else list(shape), groups, turn)
                assert_mask(found, right_turn(shape, groups, turn), "the mask of a turn")


@property_of("masks", "After as many turns as there are groups it is the first group's turn again.", hint_link=MASKS)
def test_turns_go_round(student, rng):
    for shape, groups in (((5, 1, 2), 3), ((4, 2, 3), 2), ((6, 2, 2), 4), ((5, 2, 1), 5)):
        for turn in (shape[0], groups, groups + 1, 3 * groups - 1, groups * whole(2, 50, rng) + 1):
            found = turned(student, shape, groups, turn)
            assert_mask(found, right_turn(shape, groups, turn), "the mask of a later turn")


def right_round(shape, size, groups):
    boards = [right_board(shape, size, flip) for flip in (False, True)]
    return boards + [right_turn(shape, groups, turn) for turn in range(groups)]


@property_of(
    "masks",
    "A round is the checkerboard, the flipped one, and every group's turn, so that each entry is moved by one of "
    "either kind; then the next round begins.",
    hint_link=MASKS,
)
def test_schedule(student, rng):
    for shape, size, groups in (((4, 3, 2), 1, 2), ((5, 4, 4), 2, 3), ((6, 2, 5), 3, 5), (some_shape(rng), 1, 2)):
        masks = right_round(shape, size, groups)
        for count in (1, 2, 3, len(masks), len(masks) + 1, 2 * len(masks) + 3):
            found = schedule(student, shape if count % 2 else list(shape), size, groups, count)
            expected = torch.stack([masks[k % len(masks)] for k in range(count)])
            assert_mask(found, expected, f"the schedule of {count} masks")


@property_of(
    "masks", "A size below 1, a single group, and groups without a channel raise a ValueError.", hint_link=MASKS
)
def test_masks_refuse(student, rng):
    shape = (4, 3, 3)
    sizes = [(f"a size of {size}", "checkerboard", shape, size) for size in (0, -1, -2)]
    groups = [(f"{n} groups of 4 channels", "channel_turn", shape, n, 0) for n in (-2, 0, 1, 5, 9)]
    single = [("two groups of one channel", "channel_turn", (1, 2, 2), 2, 0)]
    assert_refused(student, sizes + groups + single)


# --------------------------------------------------------------------------- 3: a squeeze that sorts by color


def right_places(rows, columns):
    return [(i, j) for parity in (0, 1) for i in range(rows) for j in range(columns) if (i + j) % 2 == parity]


def right_squeeze(x, rows, columns):
    """The squeezed image, number by number."""
    *batch, C, H, W = x.shape
    z = x.new_zeros(*batch, rows * columns * C, H // rows, W // columns)
    for p, (i, j) in enumerate(right_places(rows, columns)):
        for c in range(C):
            for h in range(H // rows):
                for w in range(W // columns):
                    z[..., p * C + c, h, w] = x[..., c, h * rows + i, w * columns + j]
    return z


def assert_moved(found, expected, what):
    """Require the same numbers in the same places; say how many are in wrong ones. NaN equals NaN."""
    wrong = int((~torch.isclose(found, expected, 0.0, 0.0, equal_nan=True)).sum())
    assert not wrong, f"{what} has {wrong} of {found.numel()} numbers in wrong places"


def squeezed(student, x, rows, columns):
    *batch, C, H, W = x.shape
    spec = tensor(*batch, rows * columns * C, H // rows, W // columns, dtype=x.dtype, finite=False)
    return student.squeeze(x, rows, columns, returns=spec)


def unsqueezed(student, z, rows, columns):
    *batch, K, H, W = z.shape
    spec = tensor(*batch, K // (rows * columns), H * rows, W * columns, dtype=z.dtype, finite=False)
    return student.unsqueeze(z, rows, columns, returns=spec)


# blocks and images (C, H, W) that they fit
BLOCKS = (
    (3, 4, (1, 3, 8)),
    (2, 2, (3, 2, 4)),
    (2, 3, (2, 4, 6)),
    (3, 2, (2, 6, 4)),
    (1, 4, (2, 3, 8)),
    (5, 1, (2, 5, 2)),
    (1, 1, (3, 2, 3)),
    (4, 3, (2, 8, 3)),
)


@property_of(
    "squeeze",
    "Place after place: a channel holds one place of every block, those with i + j even first, each in reading order; "
    "so the two colors of the checkerboard become two halves of the channels.",
    hint_link=SQUEEZE,
)
def test_squeeze_order(student, rng):
    for rows, columns, shape in BLOCKS:
        x = randn(5, 1, *shape[1:], rng=rng)
        found = shuffled(lambda part, r=rows, c=columns: squeezed(student, part, r, c), x, rng)
        assert_moved(found, right_squeeze(x, rows, columns), f"squeeze with blocks of {rows} by {columns}")


@property_of(
    "squeeze",
    "With several channels, channel p C + c holds what channel c has at place p: the channels of a place lie together.",
    hint_link=SQUEEZE,
)
def test_squeeze_channels(student, rng):
    for rows, columns, (_, H, W) in reversed(BLOCKS):
        for C in (2, 3, whole(4, 6, rng)):
            x = randn(2, C, H, W, rng=rng)
            found = squeezed(student, x, rows, columns)
            assert_moved(found, right_squeeze(x, rows, columns), f"squeeze with blocks of {rows} by {columns}")


@property_of("squeeze", "unsqueeze takes every number back to where squeeze found it.", hint_link=SQUEEZE)
def test_unsqueeze_order(student, rng):
    for rows, columns, shape in BLOCKS:
        for C in (shape[0], 1, 3):
            x = randn(2, C, *shape[1:], rng=rng)
            found = unsqueezed(student, right_squeeze(x, rows, columns), rows, columns)
            assert_moved(found, x, f"unsqueeze with blocks of {rows} by {columns}")


@property_of("squeeze", "There and back, and back and there, bit for bit.", hint_link=SQUEEZE)
def test_squeeze_round_trip(student, rng):
    for rows, columns, shape in BLOCKS:
        x, z = randn(3, *shape, rng=rng), randn(3, rows * columns * shape[0], *shape[1:], rng=rng)
        there = unsqueezed(student, squeezed(student, x, rows, columns), rows, columns)
        assert_moved(there, x, "unsqueeze(squeeze(x))")
        again = squeezed(student, unsqueezed(student, z, rows, columns), rows, columns)
        assert_moved(again, z, "squeeze(unsqueeze(z))")


@property_of("squeeze", "Any number of batch dimensions, also none.", hint_link=SQUEEZE)
def test_squeeze_batches(student, rng):
    for batch in ((), (1,), (4,), (2, 2), (3, 1, 2)):
        x = randn(*batch, 2, 4, 6, rng=rng)
        z = right_squeeze(x, 4, 3)
        assert_moved(squeezed(student, x, 4, 3), z, "squeeze")
        assert_moved(unsqueezed(student, z, 4, 3), x, "unsqueeze")


@property_of(
    "squeeze",
    "Values are moved, never computed with: every dtype, large whole numbers, infinity and NaN.",
    hint_link=SQUEEZE,
)
def test_squeeze_dtypes(student, rng):
    numbers = torch.randint(0, 2, (2, 3, 4, 4), generator=rng)
    images = [numbers.to(dtype) for dtype in (F32, torch.bool, torch.uint8, torch.int64)]
    images.append(2**53 + torch.randint(0, 2**20, (1, 4, 4), generator=rng))
    images.append(randn(1, 4, 6, rng=rng))
    images[-1][0, 0, :3] = torch.tensor([math.inf, -math.inf, math.nan], dtype=F64)
    for x in images:
        z = right_squeeze(x, 2, 2)
        assert_moved(squeezed(student, x, 2, 2), z, f"squeeze in {x.dtype}")
        assert_moved(unsqueezed(student, z, 2, 2), x, f"unsqueeze in {x.dtype}")


@property_of(
    "squeeze",
    "Blocks that do not fit the image, and channels that no squeeze gives, raise a ValueError; nothing is cut off.",
    hint_link=SQUEEZE,
)
def test_squeeze_refuses(student, rng):
    cases = []
    for C, H, W, rows, columns in (
        (1, 5, 5, 2, 2),
        (1, 5, 4, 2, 2),
        (1, 4, 5, 2, 2),
        (2, 6, 4, 4, 2),
        (4, 4, 6, 2, 4),
        (3, 3, 8, 1, 3),
    ):
        image = randn(2, C, H, W, rng=rng)
        cases.append((f"an image of {H} by {W} and blocks of {rows} by {columns}", "squeeze", image, rows, columns))
    for K, rows, columns in ((6, 2, 2), (2, 2, 2), (8, 3, 1), (9, 2, 3), (5, 1, 4)):
        image = randn(2, K, 2, 6, rng=rng)
        cases.append((f"{K} channels and blocks of {rows} by {columns}", "unsqueeze", image, rows, columns))
    assert_refused(student, cases)


@property_of("squeeze", "Gradients flow: each number of the result is one number of the image.", hint_link=SQUEEZE)
def test_squeeze_gradients(student, rng):
    bench = bench_of(student)
    for rows, columns, shape in BLOCKS:
        x, y = randn(2, *shape, rng=rng), randn(2, *shape, rng=rng)
        z, w = right_squeeze(x, rows, columns), right_squeeze(y, rows, columns)
        for name, at, factors, expected in (("squeeze", x, w, y), ("unsqueeze", z, y, w)):
            args = [name, at, factors, rows, columns]
            found = student.input_gradient(bench.bound("weighed"), *args, wrt=1, returns=tensor(*at.shape))
            assert_moved(found, expected, f"the gradient of {name}")


@property_of("squeeze", "The images that are handed in stay as they are.")
def test_squeeze_leaves_tensors_alone(student, rng):
    x, z = randn(2, 3, 4, 6, rng=rng), randn(2, 12, 2, 3, rng=rng)
    assert_left_alone(student, ("squeeze", x, 2, 3), ("unsqueeze", z, 2, 2))


# --------------------------------------------------- 4: factoring out with a prior that looks at the rest


@dataclass
class World:
    """The numbers of all steps and priors, and what the flow that is made of them should give."""

    event: tuple[int, int, int]
    steps: list[tuple[torch.Tensor, torch.Tensor, bool]]
    priors: list[tuple[torch.Tensor, torch.Tensor]]

    def parts(self):
        return [part for step in self.steps for part in step[:2]] + [part for prior in self.priors for part in prior]

    def changed(self, change):
        steps = [(change(weight), change(bias), fold) for weight, bias, fold in self.steps]
        return World(self.event, steps, [(change(weight), change(bias)) for weight, bias in self.priors])

    def shapes(self, batch):
        """The shapes of the latents."""
        C, H, W = self.event
        found = []
        for level, (_, _, fold) in enumerate(self.steps):
            C, W = (2 * C, W // 2) if fold else (C, W)
            on = C // 2 if level < len(self.priors) else 0
            found.append((*batch, C - on, H, W))
            C = on
        return found

    def walk(self, x):
        """The latents of x and its log-density."""
        latents, density = [], 0.0
        for level, (weight, bias, fold) in enumerate(self.steps):
            if fold:
                x = torch.cat([x[..., 0::2], x[..., 1::2]], dim=-3)
            v = torch.einsum("oc,...chw->...ohw", weight, x) + bias
            density = density + x.shape[-1] * x.shape[-2] * torch.linalg.slogdet(weight).logabsdet
            root = (v * v + 1).sqrt()
            density = density + torch.log(1 + 0.6 * v / root).flatten(-3).sum(dim=-1)
            x = v + 0.6 * root
            if level < len(self.priors):
                x, out = x[..., : x.shape[-3] // 2, :, :], x[..., x.shape[-3] // 2 :, :, :]
                location, log_scale = self.prior(level, x)
                u = (out - location) * (-log_scale).exp()
                density = density + (-u.abs() - log_scale - math.log(2)).flatten(-3).sum(dim=-1)
                latents.append(u)
        density = density + (-0.5 * x * x - 0.5 * math.log(2 * math.pi)).flatten(-3).sum(dim=-1)
        return [*latents, x], density

    def prior(self, level, x):
        weight, bias = self.priors[level]
        return (torch.tanh(torch.einsum("oc,...chw->...ohw", weight, x)) + bias).chunk(2, dim=-3)

    def decode(self, latents):
        x = latents[-1]
        for level in reversed(range(len(self.steps))):
            if level < len(self.priors):
                location, log_scale = self.prior(level, x)
                x = torch.cat([x, latents[level] * log_scale.exp() + location], dim=-3)
            weight, bias, fold = self.steps[level]
            v = (x - 0.6 * (x * x + 0.64).sqrt()) / 0.64
            x = torch.einsum("oc,...chw->...ohw", torch.linalg.inv(weight), v - bias)
            if fold:
                x = torch.stack(x.chunk(2, dim=-3), dim=-1).flatten(-2)
        return x


def some_world(event, folds, rng, dtype=F64):
    """Random steps and priors for images of a shape, a step for each of the flags that say whether it folds."""
    C, steps, priors = event[0], [], []
    for level, fold in enumerate(folds):
        C = 2 * C if fold else C
        # A matrix near a rotation, so that there and back costs few digits; its determinant is far from 1.
        weight = torch.linalg.qr(randn(C, C, rng=rng))[0] * uniform(C, 1, rng=rng, low=0.5, high=1.5)
        steps.append((weight, 0.5 * randn(C, 1, 1, rng=rng), fold))
        if level < len(folds) - 1:
            on, C = C // 2, C - C // 2
            priors.append((randn(2 * C, on, rng=rng), 0.5 * randn(2 * C, 1, 1, rng=rng)))
            C = on
    return World(event, steps, priors).changed(lambda part: part.to(dtype))


def flow_of(student, world):
    bench = bench_of(student)
    steps = [bench.step(*step, returns=handle()) for step in world.steps]
    priors = [bench.prior(*prior, returns=handle()) for prior in world.priors]
    return student.FactoredFlow(steps, priors, returns=handle())


def encoded(flow, world, x):
    batch = x.shape[:-3]
    return flow.encode(x, returns=tuple(tensor(*shape, dtype=x.dtype) for shape in world.shapes(batch)))


def decoded(flow, world, latents):
    last = latents[-1]
    return flow.decode(latents, returns=tensor(*last.shape[:-3], *world.event, dtype=last.dtype))


def density(flow, x):
    return flow.log_prob(x, returns=tensor(*x.shape[:-3], dtype=x.dtype))


def some_latents(world, batch, rng, dtype=F64):
    return [randn(*shape, rng=rng, dtype=dtype) for shape in world.shapes(batch)]


def assert_as_world(flow, world, batch, rng, dtype=F64, tolerance=1e-9, what=""):
    """Require what a world says of encode, log_prob and decode, for a batch of new images and latents."""
    x, latents = randn(*batch, *world.event, rng=rng, dtype=dtype), some_latents(world, batch, rng, dtype)
    right, log_density = world.walk(x)
    for found, expected in zip(encoded(flow, world, x), right):
        assert_close(found, expected, tolerance, relative=tolerance, what=f"a latent{what}")
    allowed = max(10 * tolerance, 1e-6)
    assert_close(density(flow, x), log_density, allowed, relative=tolerance, what=f"the log-density{what}")
    found, allowed = decoded(flow, world, latents), 10 * tolerance
    assert_close(found, world.decode(latents), allowed, relative=allowed, what=f"the decoded image{what}")


# Images (C, H, W) and which of the steps fold them; with a single step there is no network.
WORLDS = (
    ((3, 2, 1), (False, False)),
    ((2, 1, 2), (False, False)),
    ((5, 1, 2), (False, False, False)),
    ((1, 2, 2), (True, False)),
    ((2, 2, 4), (True, True, False)),
    ((4, 1, 4), (False, True, True)),
    ((2, 2, 2), (True,)),
    ((1, 1, 1), (False,)),
)


@property_of(
    "factored",
    "A level's latent is what was factored out after its step, without the location and the scale that the network "
    "reads from the channels that go on; the last one is what the last step returns.",
    hint_link=LEVELS,
)
def test_factored_encode(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, x = flow_of(student, world), randn(4, *event, rng=rng)
        for level, (found, expected) in enumerate(zip(encoded(flow, world, x), world.walk(x)[0])):
            assert_close(found, expected, 1e-9, relative=1e-9, what=f"the latent of level {level}")


@property_of(
    "factored",
    "decode goes back level by level, the last one first: it puts location and scale back before it joins the parts.",
    hint_link=LEVELS,
)
def test_factored_decode(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, latents = flow_of(student, world), some_latents(world, (4,), rng)
        for given in (tuple(latents), latents):
            found = decoded(flow, world, given)
            assert_close(found, world.decode(latents), 1e-8, relative=1e-8, what="the decoded image")


@property_of("factored", "There and back, and back and there.", hint_link=LEVELS)
def test_factored_round_trip(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, x = flow_of(student, world), randn(3, *event, rng=rng)
        again = decoded(flow, world, encoded(flow, world, x))
        assert_close(again, x, 1e-7, relative=1e-7, what="decode(encode(x))")
        latents = some_latents(world, (3,), rng)
        for found, expected in zip(encoded(flow, world, decoded(flow, world, latents)), latents):
            assert_close(found, expected, 1e-7, relative=1e-7, what="encode(decode(latents))")


@property_of(
    "factored",
    "The log-density holds the log-determinants of all steps, everything that was factored out, with the "
    "log-determinant of its scaling, and the last latent.",
    hint_link=LEVELS,
)
def test_factored_density(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, x = flow_of(student, world), 2 * randn(6, *event, rng=rng)
        found = shuffled(lambda part, f=flow: density(f, part), x, rng)
        assert_close(found, world.walk(x)[1], 1e-6, relative=1e-9, what="the log-density")


@property_of("factored", "The density integrates to 1 over all images.", hint_link=LEVELS)
def test_factored_total_mass(student, rng):
    for event, folds in (((2, 1, 1), (False, False)), ((3, 1, 1), (False, False)), ((1, 1, 2), (True,))):
        world = some_world(event, folds, rng)
        flow = flow_of(student, world)
        mass, error = total_mass(
            lambda x, f=flow, e=event: density(f, x.reshape(-1, *e)), math.prod(event), rng, scale=3.0, samples=20_000
        )
        assert abs(mass - 1) < 6 * error + 0.02, f"the total mass is {mass:.3f}, with a standard error of {error:.3f}"


@property_of(
    "factored",
    "lambda is any number, and the scales are what e^lambda makes of it: far below 1 as well as far above.",
    hint_link=LEVELS,
)
def test_factored_wide_scales(student, rng):
    world = some_world((5, 2, 1), (False, False), rng)
    world.priors[0][1][3:] = 12 * torch.tensor([1.0, -1.0, 1.0], dtype=F64)[:, None, None]
    assert_as_world(flow_of(student, world), world, (3,), rng)


@property_of("factored", "Any number of batch dimensions, also none, in every method.", hint_link=LEVELS)
def test_factored_batches(student, rng):
    world = some_world((2, 2, 4), (True, False, False), rng)
    flow = flow_of(student, world)
    for batch in ((), (1,), (3,), (2, 2), (2, 1, 3)):
        assert_as_world(flow, world, batch, rng)
        x = randn(*batch, 2, 2, 4, rng=rng)
        for level in range(3):
            flow.resample(x, level, returns=tensor(*x.shape))


@property_of("factored", "float32 in, float32 out, in every method.", hint_link=LEVELS)
def test_factored_float32(student, rng):
    world = some_world((2, 2, 4), (True, False), rng, F32)
    flow, x = flow_of(student, world), randn(4, 2, 2, 4, rng=rng, dtype=F32)
    assert_as_world(flow, world, (4,), rng, F32, 1e-3)
    for level in (0, 1):
        flow.resample(x, level, returns=tensor(*x.shape, dtype=F32))


def assert_parameter_gradients(student, flow, world, method, given, compute, output=None):
    """Require the gradients of the parameters through a method; compute does the same with a world."""
    leaves, old = world.changed(lambda part: part.clone().requires_grad_()), student.parameters(flow)
    wanted = leaves.parts()
    right = torch.autograd.grad(compute(leaves).sum(), wanted, allow_unused=True, materialize_grads=True)
    for name, found in student.gradients(flow, method, given, output=output).items():
        expected = next(g for part, g in zip(wanted, right) if torch.equal(part, old[name]))
        assert found is not None or not expected.any(), f"no gradient reaches the parameter {name} through {method}"
        if found is not None:
            assert_close(found, expected, 1e-7, relative=1e-7, what=f"the gradient of {method} for {name}")


def gradient_of(compute, at):
    """The gradient of what is computed, added up, for a tensor."""
    at = at.clone().requires_grad_()
    return torch.autograd.grad(compute(at).sum(), at)[0]


@property_of(
    "factored",
    "The parameters are those of all steps and networks, and gradients reach every one of them, and the image, through "
    "log_prob.",
    hint_link=LEVELS,
)
def test_factored_gradients(student, rng):
    for event, folds in (WORLDS[0], WORLDS[4]):
        world = some_world(event, folds, rng)
        flow, x = flow_of(student, world), randn(5, *event, rng=rng)
        parts = (world.parts(), student.parameters(flow).values())
        shapes = [sorted(tuple(part.shape) for part in some) for some in parts]
        assert shapes[0] == shapes[1], "the parameters are not those of the steps and networks"
        assert_parameter_gradients(student, flow, world, "log_prob", x, lambda w, x=x: w.walk(x)[1])
        found = student.input_gradient(flow.bound("log_prob"), x, returns=tensor(*x.shape))
        expected = gradient_of(lambda at, w=world: w.walk(at)[1], x)
        assert_close(found, expected, 1e-7, relative=1e-7, what="the gradient of log_prob for the image")


@property_of(
    "factored",
    "Gradients flow through encode and decode as well: from every latent to the image and the parameters, and back.",
    hint_link=LEVELS,
)
def test_factored_gradients_of_latents(student, rng):
    event, folds = WORLDS[4]
    world = some_world(event, folds, rng)
    flow, x, latents = flow_of(student, world), randn(5, *event, rng=rng), some_latents(world, (5,), rng)
    assert_parameter_gradients(student, flow, world, "decode", latents, lambda w: w.decode(latents))
    for level, latent in enumerate(latents):
        assert_parameter_gradients(student, flow, world, "encode", x, lambda w, n=level: w.walk(x)[0][n], level)
        found = student.input_gradient(flow.bound("encode"), x, output=level, returns=tensor(*x.shape))
        expected = gradient_of(lambda at, n=level: world.walk(at)[0][n], x)
        assert_close(found, expected, 1e-7, relative=1e-7, what="the gradient of encode for the image")
        decode, shape = bench_of(student).bound("decode"), latent.shape
        found = student.input_gradient(decode, flow, *latents, wrt=level + 1, returns=tensor(*shape))
        expected = gradient_of(lambda at, n=level: world.decode([*latents[:n], at, *latents[n + 1 :]]), latent)
        assert_close(found, expected, 1e-7, relative=1e-7, what="the gradient of decode for a latent")


@property_of("factored", "The present numbers of steps and networks count, not those at the start.")
def test_factored_training(student, rng):
    world = some_world((3, 2, 2), (False, True), rng)
    flow, x = flow_of(student, world), randn(3, 3, 2, 2, rng=rng)
    encoded(flow, world, x), density(flow, x), decoded(flow, world, world.walk(x)[0])
    student.set_parameters(flow, {name: 0.8 * part for name, part in student.parameters(flow).items()})
    trained = world.changed(lambda part: 0.8 * part)
    assert_as_world(flow, trained, (3,), rng, what=" after training")


@property_of("factored", "resample leaves the latents of all other levels as they are.", hint_link=LEVELS)
def test_factored_resample_keeps_the_rest(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, x = flow_of(student, world), randn(4, *event, rng=rng)
        right = world.walk(x)[0]
        for level in range(len(folds)):
            found = encoded(flow, world, flow.resample(x, level, returns=tensor(*x.shape)))
            for other in range(len(folds)):
                if other != level:
                    what = f"the latent of level {other}, where level {level} is drawn anew,"
                    assert_close(found[other], right[other], 1e-6, relative=1e-6, what=what)


@property_of(
    "factored",
    "What resample draws is standard Laplace, and standard normal for the last level; every entry of every image has a "
    "number of its own, and a new one in every call.",
    hint_link=LEVELS,
)
def test_factored_resample_draws(student, rng):
    event, count = (3, 1, 2), 1500
    world = some_world(event, (False, True), rng)
    flow = flow_of(student, world)
    x = randn(count, *event, rng=rng)
    for level in (0, 1):
        drawn = [
            encoded(flow, world, flow.resample(x, level, returns=tensor(*x.shape)))[level].flatten(1) for _ in range(2)
        ]
        if level == 0:
            uniforms = uniform(*drawn[0].shape, rng=rng, low=-0.5, high=0.5)
            reference = -uniforms.sign() * torch.log1p(-2 * uniforms.abs())
        else:
            reference = randn(*drawn[0].shape, rng=rng)
        same_distribution(drawn[0], reference, rng, what=f"the latents drawn for level {level}")
        assert len(drawn[0].unique()) > 0.99 * drawn[0].numel(), "several entries share one random number"
        assert not torch.isclose(drawn[0], drawn[1]).all(dim=1).any(), "a second call draws the same numbers"


@property_of("factored", "The images and latents that are handed in stay as they are.")
def test_factored_leaves_tensors_alone(student, rng):
    world = some_world((3, 2, 2), (False, True), rng)
    flow, x = flow_of(student, world), randn(3, 3, 2, 2, rng=rng)
    calls = [(flow.bound(name), x) for name in ("encode", "log_prob")]
    calls += [(flow.bound("resample"), x, level) for level in (0, 1)]
    assert_left_alone(student, *calls, (flow.bound("decode"), some_latents(world, (3,), rng)))


# ----------------------------------------------------------------------------------- 5: two moons in any units

NOISE, ALLOWED_NATS = 0.15, 0.22
DISTANCES = (
    (0.45, f"more than {ALLOWED_NATS} nats away from the truth"),
    (0.6, "about as far away from the truth as the best Gaussian"),
    (3.0, "farther away from the truth than the best Gaussian, as if it was not trained"),
    (100.0, "many nats away from the truth"),
    (math.inf, "hundreds of nats away from the truth"),
)


def some_moons(n, rng):
    angle, upper = math.pi * torch.rand(n, dtype=F64, generator=rng), torch.arange(n) < n // 2
    x = torch.where(upper, angle.cos() - 0.5, 0.5 - angle.cos())
    y = torch.where(upper, angle.sin() - 0.25, 0.25 - angle.sin())
    return torch.stack([x, y], dim=1) + NOISE * randn(n, 2, rng=rng)


def moons_log_prob(x):
    """The true log-density, by adding up narrow Gaussians along the half circles."""
    angle = math.pi * (torch.arange(500, dtype=F64) + 0.5) / 500
    upper = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    centers = torch.cat([upper, -upper])
    distance = torch.cdist(x, centers).square()
    return (-0.5 * distance / NOISE**2).logsumexp(dim=1) - math.log(2 * math.pi * NOISE**2 * len(centers))


def points_of(n, rng, dtype=F64):
    """Moons with unequal units, away from 0: points that a flow is built from."""
    unit, place = uniform(2, rng=rng, low=0.3, high=3.0), 5 * randn(2, rng=rng)
    return (some_moons(n, rng) * unit + place).to(dtype), unit, place


def moon_flow(student, rng, dtype=F64, n=300):
    """A flow whose parameters are not those it was built with, and the points it was built from.

    Smaller parameters than the student's keep the map gentle, however many couplings there are and however wide.
    """
    x, unit, place = points_of(n, rng, dtype)
    flow = student.MoonFlow(x, returns=handle())
    old = student.parameters(flow)
    new = {name: 0.6 * part + 0.02 * randn(*part.shape, rng=rng, dtype=part.dtype) for name, part in old.items()}
    student.set_parameters(flow, new)
    return flow, x, unit, place


def far_from(x, distance, n, rng):
    """Points in all directions, so many standard deviations of x away from its middle."""
    angle = 2 * math.pi * torch.rand(n, 1, dtype=F64, generator=rng)
    return x.mean(0) + distance * x.std(0) * torch.cat([angle.cos(), angle.sin()], dim=1)


def log_density(flow, x):
    return flow.log_prob(x, returns=tensor(*x.shape[:-1], dtype=x.dtype))


def assert_most_close(found, expected, tolerance, what, share=0.9):
    """Require this share of the numbers to be right: where a network has a kink, differences mean nothing."""
    right = ((found - expected).abs() <= tolerance).double().mean()
    assert right >= share, f"{what} is wrong at {100 - 100 * right:.0f} % of the points"


@property_of(
    "moons", "Each direction returns the log-determinant of its own map, with the change of units.", hint_link=MOONS
)
def test_moons_log_det(student, rng):
    flow, x, _, _ = moon_flow(student, rng)
    x = x[:40]
    z, found = both(flow, x)
    expected = finite_difference_log_det(one_of(flow.forward), x, rng, step=1e-6)
    assert_most_close(found, expected, 1e-5, "the log-determinant of forward")
    found = back(flow, z)[1]
    expected = finite_difference_log_det(one_of(flow.inverse), z, rng, step=1e-6)
    assert_most_close(found, expected, 1e-5, "the log-determinant of inverse")


@property_of("moons", "There and back, and back and there, trained or not.", hint_link=MOONS)
def test_moons_round_trip(student, rng):
    flow, x, unit, _ = moon_flow(student, rng)
    z = randn(50, 2, rng=rng)
    error = (back(flow, both(flow, x)[0])[0] - x) / unit
    assert_close(error, torch.zeros_like(x), 1e-5, what="inverse(forward(x)), against x,")
    assert_close(both(flow, back(flow, z)[0])[0], z, 1e-5, what="forward(inverse(z))")


@property_of(
    "moons",
    "The log-density is the standard normal one at z plus the log-determinant of forward, and the same in any batch.",
    hint_link=MOONS,
)
def test_moons_density(student, rng):
    flow, x, _, _ = moon_flow(student, rng)
    z, log_det = both(flow, x)
    expected = log_det - 0.5 * z.square().sum(dim=1) - math.log(2 * math.pi)
    found = shuffled(lambda part: log_density(flow, part), x, rng)
    assert_close(found, expected, 1e-6, relative=1e-8, what="the log-density")


@property_of("moons", "The density integrates to 1, in any batches.", hint_link=MOONS)
def test_moons_total_mass(student, rng):
    flow, x, _, _ = moon_flow(student, rng)
    mass, error = total_mass(lambda at: log_density(flow, at), 2, rng, center=x.mean(0), scale=1.5 * x.std(0))
    assert abs(mass - 1) < 6 * error + 0.02, f"the total mass is {mass:.3f}, with a standard error of {error:.3f}"


@property_of(
    "moons",
    "Every latent coordinate depends on both coordinates of the point: couplings have to alternate.",
    hint_link=MOONS,
)
def test_moons_sees_both(student, rng):
    flow, x, unit, _ = moon_flow(student, rng)
    jacobian = finite_difference_jacobian(one_of(flow.forward), x[:40], rng, step=1e-6) * unit
    blind = (jacobian.abs().amax(dim=0) <= 1e-4).nonzero().tolist()
    assert not blind, f"latent coordinate {blind[0][0]} does not depend on coordinate {blind[0][1]}"


@property_of(
    "moons",
    "In other units, with the same parameters, the density is the same, less log alpha for each coordinate.",
    hint_link=MOONS,
)
def test_moons_units(student, rng):
    flow, x, _, _ = moon_flow(student, rng)
    numbers, found = student.parameters(flow), log_density(flow, x)
    for alpha, beta in (
        ((1.0, 1.0), (50.0, -8.0)),
        ((1e3, 1e3), (-400.0, 0.0)),
        ((20.0, 1e-3), (0.0, 7.0)),
        ((0.1, 2.5), (3.0, 3.0)),
    ):
        alpha, beta = torch.tensor(alpha, dtype=F64), torch.tensor(beta, dtype=F64)
        other = student.MoonFlow(alpha * x + beta, returns=handle())
        student.set_parameters(other, numbers)
        expected = log_density(other, alpha * x + beta) + alpha.log().sum()
        assert_close(found, expected, 1e-4, what="the log-density, against that in other units,")


@property_of("moons", "Any number of batch dimensions, also none; the dtype is that of the points.", hint_link=MOONS)
def test_moons_batches(student, rng):
    for dtype, tolerance in ((F64, 1e-6), (F32, 1e-2)):
        flow, x, _, _ = moon_flow(student, rng, dtype)
        (z, log_det), found = both(flow, x), log_density(flow, x)
        for batch in ((), (1,), (3,), (2, 3), (2, 1, 2)):
            rows = torch.randint(len(x), batch, generator=rng)
            pairs = [*zip(both(flow, x[rows]), (z[rows], log_det[rows])), (log_density(flow, x[rows]), found[rows])]
            pairs += zip(back(flow, z[rows]), (x[rows], -log_det[rows]))
            for result, expected in pairs:
                assert_close(result, expected, tolerance, relative=tolerance, what="a result for another batch shape")


@property_of(
    "moons",
    "The state dictionary holds all that the flow took from its points: after loading it is the loaded one.",
    hint_link=MOONS,
)
def test_moons_reload(student, rng):
    flow, x, _, _ = moon_flow(student, rng)
    other, *_ = moon_flow(student, rng, n=200)
    log_density(other, x)
    student.load_state_dict(other, student.state_dict(flow))
    assert_close(log_density(other, x), log_density(flow, x), 1e-10, what="the log-density of the reloaded flow")
    z = randn(20, 2, rng=rng)
    assert_close(back(other, z)[0], back(flow, z)[0], 1e-8, relative=1e-8, what="inverse of the reloaded flow")


@property_of(
    "moons", "Gradients reach every parameter, and the points, through log_prob and through inverse.", hint_link=MOONS
)
def test_moons_gradients(student, rng):
    flow, x, _, _ = moon_flow(student, rng)
    cases = (
        ("log_prob", x[:40], None, lambda points: log_density(flow, points)),
        ("inverse", randn(40, 2, rng=rng), 0, one_of(flow.inverse)),
    )
    for method, at, output, call in cases:
        gradients = student.gradients(flow, method, at, output=output)
        assert gradients, "the flow has no parameters"
        for name, found in gradients.items():
            assert found is not None, f"no gradient reaches the parameter {name} through {method}"
        assert max(float(found.abs().max()) for found in gradients.values()) > 0, "all gradients are zero"
        found = student.input_gradient(flow.bound(method), at, output=output, returns=tensor(40, 2))
        expected = finite_difference_jacobian(call, at, rng, step=1e-6).sum(dim=1)
        assert_most_close(found, expected, 1e-3, f"the gradient of {method} for the points")


@property_of(
    "moons",
    "Even 50 standard deviations away from the data the flow is one: numbers are finite, inverse takes the points "
    "back, and log-determinants and log-densities are those of its map.",
    hint_link=MOONS,
)
def test_moons_far_points(student, rng):
    flow, x, unit, _ = moon_flow(student, rng)
    for distance in (5.0, 20.0, 50.0):
        far = far_from(x, distance, 60, rng)
        z, log_det = both(flow, far)
        expected = log_det - 0.5 * z.square().sum(dim=1) - math.log(2 * math.pi)
        assert_close(log_density(flow, far), expected, 1e-6, relative=1e-6, what="the log-density far away")
        error = (back(flow, z)[0] - far) / (distance * unit)
        assert_close(error, torch.zeros_like(far), 1e-4, what="inverse(forward(x)) far away, against x,")
        expected = finite_difference_log_det(one_of(flow.forward), far, rng, step=1e-4)
        assert_most_close(log_det, expected, 1e-2, "the log-determinant of forward far away", 0.5)


@property_of(
    "moons",
    "What is sampled are the points that inverse makes of standard normal numbers, new ones in every call.",
    hint_link=MOONS,
)
def test_moons_sample(student, rng):
    flow, *_ = moon_flow(student, rng)
    drawn = [flow.sample(n, returns=tensor(n, 2)) for n in (2000, 2000, 1)]
    codes = both(flow, drawn[0])[0]
    same_distribution(codes, randn(2000, 2, rng=rng), rng, what="the latents of the samples")
    assert not (drawn[0] == drawn[1]).all(dim=1).any(), "a second call draws the same points"


@property_of(
    "moons",
    "A trained flow comes near to the true log-density on points that it has not seen, in any units; and it is a "
    "density, finite far away too: it integrates to 1, and no model is better than the truth.",
    hint_link=MOONS,
)
def test_moons_held_out(student, rng):
    small, large = 10 ** uniform(1, rng=rng, low=-3.0, high=-1.0), 10 ** uniform(1, rng=rng, low=1.0, high=3.0)
    stretch = torch.cat([small, large])[torch.randperm(2, generator=rng)]
    unit = stretch * (2 * torch.randint(0, 2, (2,), generator=rng) - 1)
    place = stretch * uniform(2, rng=rng, low=-100.0, high=100.0)
    points = (some_moons(4000, rng) * unit + place).float()
    flow, kept = bench_of(student).fit_moons(points, returns=(handle(), boolean()))
    assert kept, "fit_moons changed the points that it was given"

    def in_our_units(x):
        return log_density(flow, (x * unit + place).float()).to(F64) + stretch.log().sum()

    fresh = some_moons(4000, rng)
    gap = float((moons_log_prob(fresh) - in_our_units(fresh)).mean())
    assert gap > -0.1, f"the model is better than the truth by {-gap:.2f} nats, which no density can be"
    mass, error = total_mass(in_our_units, 2, rng, scale=1.0)
    assert abs(mass - 1) < 6 * error + 0.03, f"the total mass is {mass:.3f}, with a standard error of {error:.3f}"
    codes = both(flow, flow.sample(2000, returns=tensor(2000, 2, dtype=F32)))[0]
    same_distribution(codes, randn(20_000, 2, rng=rng), rng, what="the latents of the samples")
    how = next(words for limit, words in DISTANCES if gap <= limit)
    assert gap <= ALLOWED_NATS, f"on fresh points the model is {how}"
    for distance in (5.0, 20.0, 50.0):
        far = far_from(fresh, distance, 200, rng)
        both(flow, (far * unit + place).float()), in_our_units(far)


@property_of("moons", "The points that are handed in stay as they are.")
def test_moons_leaves_tensors_alone(student, rng):
    flow, x, _, _ = moon_flow(student, rng)
    calls = [(flow.bound(name), x) for name in ("forward", "inverse", "log_prob")]
    assert_left_alone(student, ("MoonFlow", x), *calls)
