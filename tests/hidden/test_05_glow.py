"""Hidden suite of the exercises of chapter 5: Glow.

Every input is drawn anew from the seed. Modules that are handed to the student's code run beside it; what they should
give is computed here, from their numbers, so that nothing depends on what became of them there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch

from course_flows.grading.suite import (
    assert_close,
    boolean,
    finite_difference_log_det,
    handle,
    integer,
    property_of,
    same_distribution,
    shuffled,
    tensor,
    total_mass,
)

NORM = partial(property_of, "target-norm", hint_link="sec-glow-actnorm")
CONV = partial(property_of, "lu-convolution", hint_link="sec-glow-conv")
STEP = partial(property_of, "flow-step", hint_link="sec-glow-step")
HEAT = partial(property_of, "temperature", hint_link="sec-glow-temperature")
PATH = partial(property_of, "latent-path", hint_link="sec-glow-interpolation")
F32, F64 = torch.float32, torch.float64
BATCHES = ((), (1,), (3,), (2, 2), (2, 1, 3))

# Runs beside the student's code: networks, steps, flows, and a witness of what shows only where a call is made.
BENCH = """
import sys
from torch.utils._python_dispatch import TorchDispatchMode

def callable_of(target):
    return getattr(sys.modules["__main__"], target) if isinstance(target, str) else target

def mixed(matrix, x):
    if x.dtype != matrix.dtype:
        raise ValueError(f"a module whose numbers are {matrix.dtype} was given {x.dtype}")
    return torch.einsum("oc,...chw->...ohw", matrix, x)

class Given(torch.nn.Module):
    def __init__(self, parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, torch.nn.Parameter(part.clone()))
        self.calls = 0

    def count(self):
        return self.calls

class Same(torch.nn.Module):
    "returns the very tensor that it is given"
    def forward(self, x):
        return x, x.new_zeros(x.shape[:-3])

    inverse = forward

class Step(Given):
    "v = W x + b, then v + bend sqrt(1 + v^2); with fold, every other column is first made a channel"
    def __init__(self, parts, bend, fold):
        super().__init__(parts)
        self.bend, self.fold = bend, fold

    def slopes(self, v):
        curved = torch.log(1 + self.bend * v / (v * v + 1).sqrt()).flatten(-3).sum(dim=-1)
        return v.shape[-1] * v.shape[-2] * torch.linalg.slogdet(self.weight).logabsdet + curved

    def forward(self, x):
        self.calls += 1
        if self.fold:
            x = torch.cat([x[..., 0::2], x[..., 1::2]], dim=-3)
        v = mixed(self.weight, x) + self.bias
        return v + self.bend * (v * v + 1).sqrt(), self.slopes(v)

    def inverse(self, z):
        self.calls += 1
        rest = 1 - self.bend * self.bend
        v = (z - self.bend * (z * z + rest).sqrt()) / rest
        x = mixed(torch.linalg.inv(self.weight), v - self.bias.to(z.dtype))
        if self.fold:
            x = torch.stack(x.chunk(2, dim=-3), dim=-1).flatten(-2)
        return x, -self.slopes(v)

class Prior(Given):
    def forward(self, h):
        if h.shape[-3] != self.weight.shape[1]:
            raise ValueError(f"a network that reads {self.weight.shape[1]} channels was given {h.shape[-3]} of them")
        return (torch.tanh(mixed(self.weight, h)) + self.bias).chunk(2, dim=-3)

class Body(Given):
    def __init__(self, parts, jumps):
        super().__init__(parts)
        self.jumps = jumps

    def forward(self, x):
        self.calls += 1
        if x.dim() != 4 or x.shape[1] != self.weight.shape[1]:
            raise ValueError(f"a body for images (n, C, H, W) was given the shape {tuple(x.shape)}")
        out = torch.tanh(torch.nn.functional.conv2d(x, self.weight, padding=1)) + self.bias
        return out + torch.sin(1e13 * x).sum(dim=1, keepdim=True) if self.jumps else out

class Levels(torch.nn.Module):
    def __init__(self, steps, priors, shapes):
        super().__init__()
        self.steps, self.priors = torch.nn.ModuleList(steps), torch.nn.ModuleList(priors)
        self.shapes = [tuple(shape) for shape in shapes]

    def call(self, name, *args):
        return callable_of(name)(self, *args)

class Coder(Levels):
    "its latents have one, two and three dimensions, and so on; the last one has three"
    def encode(self, x):
        latents = []
        for level, (step, prior) in enumerate(zip(self.steps, self.priors)):
            h, _ = step(x)
            x, out = h.tensor_split([h.shape[-3] // 2], dim=-3)
            location, log_scale = prior(x)
            latents.append(((out - location) * (-log_scale).exp()).flatten(-3 + level % 3))
        return (*latents, self.steps[-1](x)[0])

    def decode(self, latents):
        x = self.steps[-1].inverse(latents[-1])[0]
        for level in reversed(range(len(self.priors))):
            z = latents[level].reshape(*x.shape[:-3], *self.shapes[level])
            location, log_scale = self.priors[level](x)
            x = self.steps[level].inverse(torch.cat([x, z * log_scale.exp() + location], dim=-3))[0]
        return x

class Costs(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function._schema.name)
        return function(*args, **(kwargs or {}))

class Bench:
    def same(self):
        return Same()

    def step(self, parts, bend=0.6, fold=False):
        return Step(parts, bend, fold)

    def prior(self, parts):
        return Prior(parts)

    def body(self, parts, jumps=False):
        return Body(parts, jumps)

    def levels(self, steps, priors, shapes, coder=False):
        return (Coder if coder else Levels)(steps, priors, shapes)

    def leaves_alone(self, target, *args):
        torch.set_default_dtype(torch.float32)
        flat = [part for value in args for part in (value if isinstance(value, (list, tuple)) else [value])]
        modules = [value for value in flat if isinstance(value, torch.nn.Module)]
        tensors = [value for value in flat if isinstance(value, torch.Tensor)]
        tensors += [part for module in modules for part in module.parameters()]
        before = [(value.clone(), value.requires_grad) for value in tensors]
        settings = [torch.get_default_dtype(), *(module.training for module in modules)]
        callable_of(target)(*args)
        same = all(torch.equal(new, old) and new.requires_grad == flag for new, (old, flag) in zip(tensors, before))
        return same and settings == [torch.get_default_dtype(), *(module.training for module in modules)]

    def draws_nothing(self, target, *args):
        torch.rand(1)  # no seed has the state after it
        before = torch.get_rng_state()
        callable_of(target)(*args)
        return torch.equal(before, torch.get_rng_state())

    def twice(self, target, *args):
        first = callable_of(target)(*args)
        return first, callable_of(target)(*args)

    def log_det_tied(self, module, x):
        z, log_det = module.forward(x)
        return log_det.sum() + 0 * z.sum()

    def refuses(self, target, *args):
        try:
            callable_of(target)(*args)
        except ValueError:
            return True
        return False

    def keeps_parameters(self, module, x):
        before = [(name, id(part)) for name, part in module.named_parameters()]
        module.forward(x)
        return before == [(name, id(part)) for name, part in module.named_parameters()]

    def loads_aside(self, target, state, *tensors):
        before = [value.clone() for value in tensors]
        callable_of(target)(*tensors).load_state_dict(state)
        return all(torch.equal(new, old) for new, old in zip(tensors, before))

    def factorizes(self, target, *args):
        with Costs() as costs:
            callable_of(target)(*args)
        return any("linalg" in name and "triangular" not in name and "norm" not in name for name in costs.names)

    def weighed_direction(self, flow, x, has, other, factors):
        found = flow.call("attribute_direction", x, has, other)
        return sum((part * factor).sum() for part, factor in zip(found, factors))

    def weighed(self, factors, function, flow, *args):
        return (callable_of(function)(flow, *args) * factors).sum()

    def weighed_move(self, flow, x, amounts, factors, *direction):
        return (flow.call("move_along", x, direction, amounts) * factors).sum()

bench = Bench()
"""


def bench_of(student):
    return student.define(BENCH, "bench")


def randn(*shape, rng, dtype=F64):
    return torch.randn(shape, dtype=F64, generator=rng).to(dtype)


def uniform(*shape, rng, low=0.0, high=1.0, dtype=F64):
    return (low + (high - low) * torch.rand(shape, dtype=F64, generator=rng)).to(dtype)


def pair(x):
    """What a direction returns for images (*batch, C, H, W)."""
    return tensor(*x.shape, dtype=x.dtype), tensor(*x.shape[:-3], dtype=x.dtype)


def both(flow, x):
    return flow.forward(x, returns=pair(x))


def back(flow, z):
    return flow.inverse(z, returns=pair(z))


def one_of(method, part=0):
    """A direction as a function that returns the images only, or the log-determinants only."""
    return lambda x: method(x, returns=pair(x))[part]


def assert_pair(found, expected, tolerance, words=""):
    assert_close(found[0], expected[0], tolerance, relative=tolerance, what=f"an image{words}")
    assert_close(found[1], expected[1], tolerance, relative=tolerance, what=f"a log-determinant{words}")


def assert_left_alone(student, *calls):
    """Require calls, each a list of a target and its arguments, to leave what they are given as it is."""
    for target, *args in calls:
        kept = bench_of(student).leaves_alone(target, *args, returns=boolean())
        assert kept, "a tensor or a module that was handed in, or torch's default dtype, was changed"


def assert_draws_nothing(student, *calls):
    """Require calls, each a list of a target and its arguments, to leave torch's random numbers as they are."""
    for target, *args in calls:
        kept = bench_of(student).draws_nothing(target, *args, returns=boolean())
        assert kept, f"{target} sets a seed or draws random numbers"


def assert_refused(student, cases):
    """Require a ValueError of every case: words, target and arguments."""
    bench = bench_of(student)
    accepted = [words for words, target, *args in cases if not bench.refuses(target, *args, returns=boolean())]
    assert not accepted, f"no ValueError was raised for {', '.join(accepted)}"


def assert_gradients(student, flow, x, right, values, methods=("forward", "inverse"), outputs=(0, 1)):
    """Require the gradients of both values of both directions, for the image and for every parameter.

    ``right(method, points)`` returns what the direction should give, of leaves by name in ``values``.
    """
    for method in methods:
        for output in outputs:
            points = x.clone().requires_grad_()
            total = right(method, points)[output].sum()
            wanted = torch.autograd.grad(total, [*values.values(), points], allow_unused=True)
            where = f"through {('the images', 'the log-determinants')[output]} of {method}"
            found = student.gradients(flow, method, x, output=output)
            for (name, value), expected in zip(values.items(), wanted):
                if expected is not None and expected.abs().max() > 0:
                    assert found[name] is not None, f"no gradient reaches the parameter {name} {where}"
                    what = f"the gradient of {name} {where}"
                    assert_close(found[name], expected, 1e-8, relative=1e-8, what=what)
                elif found[name] is not None:
                    assert_close(found[name], torch.zeros_like(value), 1e-8, what=f"the gradient of {name} {where}")
            if wanted[-1] is not None:
                at = student.input_gradient(flow.bound(method), x, output=output, returns=tensor(*x.shape))
                assert_close(at, wanted[-1], 1e-8, relative=1e-8, what=f"the gradient of the image {where}")


# --------------------------------------------------------------------- 1: an actnorm with a prescribed start


def targets(C, rng, dtype=F64):
    return 2 * randn(C, rng=rng, dtype=dtype), uniform(C, rng=rng, low=0.3, high=3.0, dtype=dtype)


def photos(batch, C, rng, dtype=F64, H=3, W=4):
    """Images whose channels have means and deviations of their own."""
    unit, place = uniform(C, 1, 1, rng=rng, low=0.2, high=4.0), 2 * randn(C, 1, 1, rng=rng)
    return (place + unit * randn(*batch, C, H, W, rng=rng)).to(dtype)


def actnorm(student, C, rng, dtype=F64):
    return student.TargetNorm(*targets(C, rng, dtype), returns=handle())


def mode(flow, training):
    flow.train(training, returns=handle())
    return flow


def right_norm(b, s, method, x):
    b, s = b[:, None, None], s[:, None, None]
    log_det = (x.shape[-1] * x.shape[-2] * s.sum()).expand(x.shape[:-3])
    return ((x + b) * s.exp(), log_det) if method == "forward" else (x * (-s).exp() - b, -log_det)


def right_start(mean, std, x):
    values = x.movedim(-3, 0).flatten(1)
    s = std.log() - values.std(dim=1, correction=0).log()
    return mean * (-s).exp() - values.mean(dim=1), s


def moments(z):
    values = z.movedim(-3, 0).flatten(1)
    return values.mean(dim=1), values.std(dim=1, correction=0)


@NORM("The first batch of training comes out with the prescribed means and deviations, over all images and pixels.")
def test_norm_start(student, rng):
    for batch, C, H, W in (((6,), 3, 3, 4), ((2, 3), 2, 1, 5), ((4,), 1, 2, 2), ((), 4, 3, 3), ((1,), 2, 2, 3)):
        (mean, std), x = targets(C, rng), photos(batch, C, rng, F64, H, W)
        z, log_det = both(student.TargetNorm(mean, std, returns=handle()), x)
        assert_close(moments(z)[0], mean, 1e-8, what="the mean of a channel of the first batch")
        assert_close(moments(z)[1], std, 1e-8, what="the deviation of a channel of the first batch")
        assert_pair((z, log_det), right_norm(*right_start(mean, std, x), "forward", x), 1e-8, " of the first batch")


@NORM("z = (x + bias) exp(log_scale) in both modes, and inverse undoes it; the log-determinant counts every pixel.")
def test_norm_maps(student, rng):
    for batch in BATCHES:
        for training in (True, False):
            flow = actnorm(student, 3, rng)
            both(flow, photos((4,), 3, rng))
            mode(flow, training)
            new = {"bias": randn(3, rng=rng), "log_scale": 0.5 * randn(3, rng=rng)}
            student.set_parameters(flow, new)
            for H, W in ((2, 3), (1, 1), (5, 2)):
                x = photos(batch, 3, rng, F64, H, W)
                for method, found in (("forward", both(flow, x)), ("inverse", back(flow, x))):
                    assert_pair(found, right_norm(new["bias"], new["log_scale"], method, x), 1e-8)
    x = photos((5,), 3, rng, F64, 2, 2)
    for method in (flow.forward, flow.inverse):
        expected = finite_difference_log_det(one_of(method), x, rng)
        assert_close(shuffled(one_of(method, 1), x, rng), expected, 1e-6, what="a log-determinant, by differences,")


@NORM("Only the first forward in training mode sets anything: no eval mode, no inverse, no second batch.")
def test_norm_sets_once(student, rng):
    for batch in ((5,), ()):
        (mean, std), x = targets(2, rng), photos(batch, 2, rng)
        flow = student.TargetNorm(mean, std, returns=handle())
        zero = torch.zeros(2, dtype=F64)
        for training in (False, True):
            mode(flow, training)
            assert_pair(back(flow, x), right_norm(zero, zero, "inverse", x), 1e-8, " before the first batch")
            if not training:
                assert_pair(both(flow, x), right_norm(zero, zero, "forward", x), 1e-8, " before the first batch")
        first = photos(batch, 2, rng)
        both(flow, first)
        b, s = right_start(mean, std, first)
        for training in (True, False, True):
            mode(flow, training)
            for y in (photos((3,), 2, rng), photos((), 2, rng)):
                assert_pair(both(flow, y), right_norm(b, s, "forward", y), 1e-8, " of a later batch")
                assert_pair(back(flow, y), right_norm(b, s, "inverse", y), 1e-8, " of a later batch")


@NORM("The parameters are bias and log_scale, 0 at first; the first batch writes into them and makes no new ones.")
def test_norm_parameters(student, rng):
    for dtype in (F64, F32):
        flow = actnorm(student, 3, rng, dtype)
        for when in ("before", "after"):
            found = student.parameters(flow)
            assert sorted(found) == ["bias", "log_scale"], "the parameters are not bias and log_scale"
            for name, value in found.items():
                what = f"{name} {when} the first batch"
                assert value.shape == (3,), f"{what} has shape {tuple(value.shape)}"
                assert value.dtype == dtype, f"{what} has dtype {value.dtype}"
                if when == "before":
                    assert_close(value, torch.zeros_like(value), 0.0, what=what)
            x = photos((4,), 3, rng, dtype)
            if when == "before":
                kept = bench_of(student).keeps_parameters(flow, x, returns=boolean())
                assert kept, "the first batch made new parameters; an optimizer that holds the old ones trains nothing"
        student.set_parameters(flow, {name: torch.zeros_like(value) for name, value in found.items()})
        assert_close(both(flow, x)[0], x, 1e-5, what="an image where bias and log_scale are 0")


@NORM("Channels may come in any units, and one that is constant at first keeps its scale and comes out with its mean.")
def test_norm_units(student, rng):
    units = [(F64, 1e-8, unit, randn(3, 1, 1, rng=rng)) for unit in (1e-7, 1e7)]
    units += [(F32, 1e-3, unit, randn(3, 1, 1, rng=rng)) for unit in (1e-7, 1e7)]
    for dtype, tolerance, unit, place in (*units, (F64, 1e-6, 1.0, 1e6), (F32, 1e-2, 1.0, 1e3)):
        (mean, std), x = targets(3, rng, dtype), (unit * (place + randn(4, 3, 3, 4, rng=rng))).to(dtype)
        z = both(student.TargetNorm(mean, std, returns=handle()), x)[0]
        for found, expected in zip(moments(z), (mean, std)):
            assert_close(found, expected, tolerance, what="a moment of a channel in other units, or far from 0,")
    for dtype, tolerance in ((F64, 1e-8), (F32, 1e-3)):
        for value in (0.0, 0.1, -1 / 3, 12.3):
            (mean, std), x = targets(3, rng, dtype), photos((7,), 3, rng, dtype)
            x[:, 1] = value
            flow = student.TargetNorm(mean, std, returns=handle())
            z = both(flow, x)[0]
            assert_close(moments(z)[0], mean, tolerance, what="the mean of a channel, where one is constant,")
            others = torch.tensor([0, 2])
            found, expected = moments(z)[1][others], std[others]
            assert_close(found, expected, tolerance, what="the deviation of the channels beside a constant one")
            s = student.parameters(flow)["log_scale"][1]
            assert_close(s, torch.zeros_like(s), 0.0, what="the log_scale of a constant channel")


@NORM("Gradients are those of the formula with fixed bias and log_scale, in the first call as in every other.")
def test_norm_gradients(student, rng):
    mean, std = targets(3, rng)
    x = photos((4,), 3, rng)
    b, s = (value.requires_grad_() for value in right_start(mean, std, x))
    for output in (0, 1):
        total = right_norm(b, s, "forward", x)[output].sum()
        right = dict(zip(("bias", "log_scale"), torch.autograd.grad(total, [b, s], allow_unused=True)))
        found = student.gradients(student.TargetNorm(mean, std, returns=handle()), "forward", x, output=output)
        for name, expected in right.items():
            if expected is not None:
                assert found[name] is not None, f"no gradient reaches {name} in the first call"
                assert_close(
                    found[name], expected, 1e-7, relative=1e-7, what=f"the gradient of {name} in the first call"
                )
    flow = student.TargetNorm(mean, std, returns=handle())
    found = student.input_gradient(flow.bound("forward"), x, output=0, returns=tensor(*x.shape))
    expected = s.detach().exp()[:, None, None].expand(x.shape)
    assert_close(found, expected, 1e-7, relative=1e-7, what="the gradient of the image in the first call")
    tied = bench_of(student).bound("log_det_tied")
    waiting = student.TargetNorm(mean, std, returns=handle())
    found = student.input_gradient(tied, waiting, x, wrt=1, returns=tensor(*x.shape))
    what = "the gradient of the log-determinant for the image in the first call"
    assert_close(found, torch.zeros_like(x), 1e-10, what=what)
    student.set_parameters(flow, {"bias": b.detach(), "log_scale": s.detach()})
    values = {"bias": b, "log_scale": s}
    for training in (True, False):
        mode(flow, training)
        assert_gradients(student, flow, x, lambda method, at: right_norm(b, s, method, at), values)


@NORM("The state knows m, d, and whether the first batch has been: a loaded module goes on as the loaded one.")
def test_norm_reload(student, rng):
    bench = bench_of(student)
    (mean, std), x, y = targets(2, rng), photos((4,), 2, rng), photos((3,), 2, rng)
    waiting, started = (student.TargetNorm(mean, std, returns=handle()) for _ in range(2))
    both(started, x)
    b, s = right_start(mean, std, x)
    fresh_b, fresh_s = right_start(mean, std, y)
    for touched in (False, True):
        target = actnorm(student, 2, rng)
        if touched:
            both(target, photos((4,), 2, rng))
        student.load_state_dict(target, student.state_dict(started))
        assert_pair(both(target, y), right_norm(b, s, "forward", y), 1e-8, " after loading a module that has started")
        student.load_state_dict(target, student.state_dict(waiting))
        zero = torch.zeros(2, dtype=F64)
        assert_pair(back(target, y), right_norm(zero, zero, "inverse", y), 1e-8, " after loading one that waits")
        assert_pair(both(target, y), right_norm(fresh_b, fresh_s, "forward", y), 1e-8, " after loading one that waits")
        state = student.state_dict(started)
        kept = bench.loads_aside("TargetNorm", state, *targets(2, rng), returns=boolean())
        assert kept, "loading wrote into a tensor that the module was built from"


@NORM("float32 in, float32 out, and a deviation that is not positive raises a ValueError.")
def test_norm_dtype_and_refusals(student, rng):
    (mean, std), x = targets(3, rng, F32), photos((5,), 3, rng, F32)
    flow = student.TargetNorm(mean, std, returns=handle())
    assert_pair(both(flow, x), right_norm(*right_start(mean, std, x), "forward", x), 1e-3)
    back(flow, x)
    cases = []
    for bad in (0.0, -1.0, -1e-3):
        wrong = std.clone()
        wrong[1] = bad
        cases.append((f"a deviation of {bad}", "TargetNorm", mean, wrong))
    assert_refused(student, cases)


@NORM("The tensors that are handed in stay as they are.")
def test_norm_leaves_tensors_alone(student, rng):
    mean, std = targets(2, rng)
    flow, x = student.TargetNorm(mean, std, returns=handle()), photos((3,), 2, rng)
    calls = [(flow.bound(name), x) for name in ("inverse", "forward", "forward", "inverse")]
    assert_left_alone(student, ("TargetNorm", mean, std), *calls)


# ------------------------------------------------------------------ 2: a 1 x 1 convolution that shuffles first


def some_matrices(rng):
    """Well-conditioned matrices of both signs and any size, some with zeros where a factorization begins."""
    for C in (1, 2, 3, 5):
        for _ in range(2):
            rotation = torch.linalg.qr(randn(C, C, rng=rng)).Q
            matrix = uniform(C, 1, rng=rng, low=0.5, high=2.0) * rotation
            for sign in (1.0, -1.0):
                yield matrix * torch.tensor([sign] + [1.0] * (C - 1), dtype=F64)[:, None]
    yield torch.eye(4, dtype=F64)[torch.randperm(4, generator=rng)]
    yield torch.eye(3, dtype=F64).roll(1, 0) * uniform(3, 1, rng=rng, low=0.5, high=2.0)
    yield torch.tensor([[1e-20, 1.0], [1.0, 1.0]], dtype=F64)
    yield torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.5, -1.0], [-1.0, 0.0, 0.0]], dtype=F64)
    for scale in (1e-5, 1e5):
        yield scale * torch.linalg.qr(randn(4, 4, rng=rng)).Q


def some_matrix(C, rng):
    return torch.linalg.qr(randn(C, C, rng=rng)).Q * uniform(C, 1, rng=rng, low=0.5, high=2.0)


def convolution(student, matrix):
    return student.ShuffledLU(matrix, returns=handle())


def weight_of(conv, C, dtype=F64):
    return conv.weight(returns=tensor(C, C, dtype=dtype))


def right_conv(matrix, log_det, method, x):
    total = (x.shape[-1] * x.shape[-2] * log_det).expand(x.shape[:-3])
    if method == "inverse":
        matrix, total = torch.linalg.inv(matrix), -total
    return torch.einsum("oc,...chw->...ohw", matrix, x), total


def skeleton(student, conv, C):
    """The signed permutation that is left of W where lower, upper and log_diagonal are 0: signs and P."""
    old = student.parameters(conv)
    student.set_parameters(conv, {name: torch.zeros_like(value) for name, value in old.items()})
    found = weight_of(conv, C)
    student.set_parameters(conv, old)
    hits = (found.abs() - 1).abs() < 1e-12
    fits = (hits | (found == 0)).all() and (hits.sum(0) == 1).all() and (hits.sum(1) == 1).all()
    assert fits, "where lower, upper and log_diagonal are 0, W is not a permutation matrix with signs"
    return found


def right_weight(parts, bones):
    """L U P of the parameters and the signed permutation."""
    signs = bones.sum(dim=1)
    lower = parts["lower"].tril(-1) + (signs * parts["log_diagonal"].exp()).diag()
    upper = parts["upper"].triu(1) + torch.eye(len(signs), dtype=signs.dtype)
    return lower @ upper @ bones.abs()


def trained(C, rng):
    """Numbers that training might leave, also where they have no effect."""
    return {
        "lower": 0.5 * randn(C, C, rng=rng) + 3 * torch.eye(C, dtype=F64),
        "upper": 0.5 * randn(C, C, rng=rng) - 2 * torch.eye(C, dtype=F64),
        "log_diagonal": uniform(C, rng=rng, low=-1.0, high=1.0),
    }


@CONV("It starts at the given matrix, whatever its size, its sign, and where its zeros are.")
def test_conv_start(student, rng):
    for matrix in some_matrices(rng):
        C, scale = len(matrix), float(matrix.abs().max())
        conv, x = convolution(student, matrix), randn(3, C, 2, 2, rng=rng)
        assert_close(
            weight_of(conv, C) / scale, matrix / scale, 1e-8, what="the first W, in units of its largest entry,"
        )
        right = right_conv(matrix, torch.linalg.slogdet(matrix).logabsdet, "forward", x)
        assert_pair(tuple(part / scale for part in both(conv, x)), tuple(part / scale for part in right), 1e-8)
        again = back(conv, right[0])
        assert_close(again[0], x, 1e-7, what="the inverse of W x")
        assert_close(again[1], -right[1], 1e-7, what="the log-determinant of inverse")
    for exponents in ([-12, 0, 12], [-9, -9], [-150] * 4, [150] * 4):
        C = len(exponents)
        matrix = torch.diag(10.0 ** torch.tensor(exponents, dtype=F64))[torch.randperm(C, generator=rng)]
        if len(set(exponents)) == 1:
            matrix = matrix @ torch.linalg.qr(randn(C, C, rng=rng)).Q
        found, scale = weight_of(convolution(student, matrix), C), matrix.abs().amax(dim=1, keepdim=True)
        assert_close(found / scale, matrix / scale, 1e-8, what="a row of the first W, in units of its largest entry,")


@CONV("Every pixel is multiplied with the present W, and inverse undoes that; log|det W| counts H times W times.")
def test_conv_maps(student, rng):
    for C, batch in zip((3, 2, 4, 1, 3), BATCHES):
        conv = convolution(student, some_matrix(C, rng))
        student.set_parameters(conv, trained(C, rng))
        matrix = weight_of(conv, C)
        for H, W in ((2, 3), (1, 1), (4, 1)):
            x = randn(*batch, C, H, W, rng=rng)
            for method, found in (("forward", both(conv, x)), ("inverse", back(conv, x))):
                assert_pair(found, right_conv(matrix, torch.linalg.slogdet(matrix).logabsdet, method, x), 1e-8)
            assert_close(back(conv, both(conv, x)[0])[0], x, 1e-8, relative=1e-8, what="inverse(forward(x))")
    x = randn(4, 3, 1, 2, rng=rng)
    for method in (conv.forward, conv.inverse):
        expected = finite_difference_log_det(one_of(method), x, rng)
        assert_close(shuffled(one_of(method, 1), x, rng), expected, 1e-6, what="a log-determinant, by differences,")


@CONV("W = L U P: the shuffle comes first, L has the diagonal sign times exp(log_diagonal), U has ones.")
def test_conv_factors(student, rng):
    for C in (2, 3, 5):
        conv = convolution(student, some_matrix(C, rng))
        bones = skeleton(student, conv, C)
        start = right_weight(student.parameters(conv), bones)
        assert_close(weight_of(conv, C), start, 1e-8, what="the first W, against L U P of the parameters,")
        for _ in range(3):
            parts = trained(C, rng)
            student.set_parameters(conv, parts)
            found = weight_of(conv, C)
            assert_close(found, right_weight(parts, bones), 1e-8, what="W after training, against L U P,")
            expected = float(bones.det())
            assert found.det() * expected > 0, "training changed the sign of the determinant"


@CONV("The log-determinant comes from log_diagonal itself: it is right where exp(log_diagonal) is 0 or infinite.")
def test_conv_extremes(student, rng):
    for dtype, size in ((F64, 1000.0), (F32, 200.0), (F64, 40.0)):
        conv, x = convolution(student, some_matrix(3, rng).to(dtype)), randn(2, 3, 2, 3, rng=rng, dtype=dtype)
        parts = student.parameters(conv)
        for signs in ((-1, -1, -1), (1, 1, 1), (-1, 1, 1), (-1, 0.5, -0.5)):
            s = size * torch.tensor(signs, dtype=dtype)
            student.set_parameters(conv, {**parts, "log_diagonal": s})
            spec = (tensor(*x.shape, dtype=dtype, finite=False), tensor(2, dtype=dtype))
            for method, sign in ((conv.forward, 1), (conv.inverse, -1)):
                found, expected = method(x, returns=spec)[1], (sign * 6 * s.sum()).expand(2)
                assert_close(found, expected, 0.0, relative=1e-5, what="the log-determinant")


@CONV("The present numbers count in either mode, be exp(log_diagonal) ever so small or large.")
def test_conv_sizes(student, rng):
    conv = convolution(student, some_matrix(3, rng))
    zeros = {name: torch.zeros_like(value) for name, value in student.parameters(conv).items()}
    for training in (True, False):
        mode(conv, training)
        for size in (1.0, 30.0, 300.0):
            s, x = size * randn(3, rng=rng).clamp(-2, 2), randn(2, 3, 2, 2, rng=rng)
            student.set_parameters(conv, {**zeros, "log_diagonal": s})
            found = weight_of(conv, 3).abs().amax(dim=1).log()
            assert_close(found, s, 1e-8, what="the logarithm of the one number in a row of W, against s,")
            assert_close(back(conv, both(conv, x)[0])[0], x, 1e-8, what="inverse(forward(x))")


@CONV("Once it is built, the convolution factorizes no matrix and computes no inverse and no determinant.")
def test_conv_costs(student, rng):
    conv, x = convolution(student, some_matrix(4, rng)), randn(2, 4, 2, 2, rng=rng)
    for name, args in (("forward", [x]), ("inverse", [x]), ("weight", [])):
        costly = bench_of(student).factorizes(conv.bound(name), *args, returns=boolean())
        assert not costly, f"{name} uses torch.linalg for more than solving triangular systems"


@CONV("The parameters are lower, upper and log_diagonal; gradients reach them through W and both directions.")
def test_conv_gradients(student, rng):
    for C in (3, 2):
        conv, x = convolution(student, some_matrix(C, rng)), randn(2, C, 2, 3, rng=rng)
        shapes = {name: tuple(value.shape) for name, value in student.parameters(conv).items()}
        right_shapes = {"lower": (C, C), "upper": (C, C), "log_diagonal": (C,)}
        assert shapes == right_shapes, "the parameters are not lower, upper and log_diagonal of the right shapes"
        bones, values = skeleton(student, conv, C), trained(C, rng)
        student.set_parameters(conv, values)
        for value in values.values():
            value.requires_grad_()

        def right(method, at, values=values, bones=bones):
            return right_conv(right_weight(values, bones), values["log_diagonal"].sum(), method, at)

        assert_gradients(student, conv, x, right, values)
        wanted = torch.autograd.grad(right_weight(values, bones).sum(), list(values.values()))
        gradients = student.gradients(conv, "weight")
        for name, expected in zip(values, wanted):
            found = gradients[name]
            assert found is not None, f"no gradient reaches the parameter {name} through weight()"
            assert_close(found, expected, 1e-8, relative=1e-8, what=f"the gradient of {name} through weight()")


@CONV("P and the signs are part of the state: after loading it is the loaded convolution.")
def test_conv_reload(student, rng):
    for C in (2, 4):
        source = convolution(student, some_matrix(C, rng))
        student.set_parameters(source, trained(C, rng))
        matrix, x = weight_of(source, C), randn(3, C, 2, 2, rng=rng)
        for other in (torch.eye(C, dtype=F64), -torch.eye(C, dtype=F64).flip(0), some_matrix(C, rng)):
            target = convolution(student, other)
            both(target, x), back(target, x)
            student.load_state_dict(target, student.state_dict(source))
            assert_close(weight_of(target, C), matrix, 1e-8, what="W of the reloaded convolution")
            for method, found in (("forward", both(target, x)), ("inverse", back(target, x))):
                right = right_conv(matrix, torch.linalg.slogdet(matrix).logabsdet, method, x)
                assert_pair(found, right, 1e-8, " of the reloaded convolution")


@CONV("float32 in, float32 out; a row or a column of zeros raises a ValueError.")
def test_conv_dtype_and_refusals(student, rng):
    matrix, x = some_matrix(3, rng).float(), randn(2, 3, 2, 2, rng=rng, dtype=F32)
    conv = convolution(student, matrix)
    assert all(value.dtype == F32 for value in student.parameters(conv).values()), "a parameter is not of dtype float32"
    assert_close(weight_of(conv, 3, F32), matrix, 1e-5, what="W in float32")
    for method, found in (("forward", both(conv, x)), ("inverse", back(conv, x))):
        assert_pair(found, right_conv(matrix, torch.linalg.slogdet(matrix).logabsdet, method, x), 1e-3)
    cases = [("a matrix of one zero", "ShuffledLU", torch.zeros(1, 1, dtype=F64))]
    for C in (2, 4):
        at = int(torch.randint(0, C, (1,), generator=rng))
        row, column = randn(C, C, rng=rng), randn(C, C, rng=rng)
        row[at], column[:, at] = 0.0, 0.0
        cases += [("a row of zeros", "ShuffledLU", row), ("a column of zeros", "ShuffledLU", column)]
    assert_refused(student, cases)


@CONV("The matrix and the images that are handed in stay as they are.")
def test_conv_leaves_tensors_alone(student, rng):
    matrix, x = some_matrix(3, rng), randn(2, 3, 2, 2, rng=rng)
    conv = convolution(student, matrix)
    assert_left_alone(student, ("ShuffledLU", matrix), *((conv.bound(name), x) for name in ("forward", "inverse")))
    state = student.state_dict(convolution(student, some_matrix(3, rng)))
    kept = bench_of(student).loads_aside("ShuffledLU", state, torch.eye(3, dtype=F64), returns=boolean())
    assert kept, "loading wrote into the matrix that the convolution was built from"


# ---------------------------------------------------------------- 3: a step of flow that starts without a coupling

LOG_SIGMOID_2 = -math.log1p(math.exp(-2.0))


@dataclass
class Parts:
    """The numbers of norm, mixing, body and last, and what the step should give."""

    numbers: dict[str, torch.Tensor]
    channels: int
    norm_bend: float = 0.6

    @property
    def moved(self):
        return self.channels // 2

    def law(self, name, bend, method, x):
        return step_law(self.numbers[f"{name}.weight"], self.numbers[f"{name}.bias"], bend, False, method, x)

    def coupling(self, rest):
        flat = rest.reshape(-1, *rest.shape[-3:])
        body = torch.tanh(torch.nn.functional.conv2d(flat, self.numbers["body.weight"], padding=1))
        weight, bias = self.numbers["last.weight"], self.numbers["last.bias"]
        out = torch.nn.functional.conv2d(body + self.numbers["body.bias"], weight, bias, padding=1)
        r, t = out.reshape(*rest.shape[:-3], *out.shape[1:]).chunk(2, dim=-3)
        log_scale = torch.nn.functional.logsigmoid(r + 2) - LOG_SIGMOID_2
        return log_scale, t, log_scale.flatten(-3).sum(dim=-1)

    def run(self, method, x):
        if method == "inverse":
            first, rest = x.tensor_split([self.moved], dim=-3)
            log_scale, t, total = self.coupling(rest)
            h = torch.cat([first * (-log_scale).exp() - t, rest], dim=-3)
            h, of_mixing = self.law("mixing", 0.0, "inverse", h)
            h, of_norm = self.law("norm", self.norm_bend, "inverse", h)
            return h, of_norm + of_mixing - total
        h, of_norm = self.law("norm", self.norm_bend, "forward", x)
        h, of_mixing = self.law("mixing", 0.0, "forward", h)
        first, rest = h.tensor_split([self.moved], dim=-3)
        log_scale, t, total = self.coupling(rest)
        return torch.cat([(first + t) * log_scale.exp(), rest], dim=-3), of_norm + of_mixing + total


def step_law(weight, bias, bend, fold, method, x):
    """What a given step does: v = W x + b, then v + bend sqrt(1 + v^2)."""
    if method == "forward":
        if fold:
            x = torch.cat([x[..., 0::2], x[..., 1::2]], dim=-3)
        v = torch.einsum("oc,...chw->...ohw", weight, x) + bias
        out, sign = v + bend * (v * v + 1).sqrt(), 1
    else:
        v = (x - bend * (x * x + 1 - bend**2).sqrt()) / (1 - bend**2)
        out, sign = torch.einsum("oc,...chw->...ohw", torch.linalg.inv(weight), v - bias), -1
        if fold:
            out = torch.stack(out.chunk(2, dim=-3), dim=-1).flatten(-2)
    slopes = torch.log(1 + bend * v / (v * v + 1).sqrt()).flatten(-3).sum(dim=-1)
    pixels = v.shape[-1] * v.shape[-2]
    return out, sign * (pixels * torch.linalg.slogdet(weight).logabsdet + slopes)


def some_parts(C, rng, dtype=F64, hidden=4, size=0.3):
    kept, moved = C - C // 2, C // 2
    numbers = {
        "norm.weight": uniform(C, rng=rng, low=0.5, high=1.5).diag(),
        "norm.bias": randn(C, 1, 1, rng=rng),
        "mixing.weight": some_matrix(C, rng),
        "mixing.bias": torch.zeros(C, 1, 1),
        "body.weight": 0.4 * randn(hidden, kept, 3, 3, rng=rng),
        "body.bias": 0.5 * randn(hidden, 1, 1, rng=rng),
        "last.weight": size * randn(2 * moved, hidden, 3, 3, rng=rng),
        "last.bias": size * randn(2 * moved, rng=rng),
    }
    return Parts({name: value.to(dtype) for name, value in numbers.items()}, C)


def glow_step(student, parts, jumps=False):
    """A new step of the given modules; in float64 where these are."""
    bench, numbers = bench_of(student), parts.numbers
    given = [{kind: numbers[f"{name}.{kind}"] for kind in ("weight", "bias")} for name in ("norm", "mixing", "body")]
    norm, mixing = bench.step(given[0], parts.norm_bend, returns=handle()), bench.step(given[1], 0.0, returns=handle())
    body = bench.body(given[2], jumps, returns=handle())
    step = student.GlowStep(norm, mixing, body, parts.channels, len(numbers["body.bias"]), returns=handle())
    if numbers["norm.bias"].dtype == F64:
        step.double(returns=handle())
    return step, (norm, mixing, body)


def trained_step(student, parts, jumps=False):
    step, given = glow_step(student, parts, jumps)
    student.set_parameters(step, parts.numbers)
    return step, given


def step_of_nothing(student, numbers, rng):
    """A new step of 4 channels whose norm and mixing return the tensor they are given; then the numbers are set."""
    bench, dtype = bench_of(student), next(iter(numbers.values())).dtype
    given = {"weight": randn(4, 2, 3, 3, rng=rng, dtype=dtype), "bias": randn(4, 1, 1, rng=rng, dtype=dtype)}
    same, body = [bench.same(returns=handle()) for _ in range(2)], bench.body(given, returns=handle())
    step = student.GlowStep(*same, body, 4, 4, returns=handle())
    if dtype == F64:
        step.double(returns=handle())
    student.set_parameters(step, {**student.parameters(step), **numbers})
    return step


@STEP("A new step is mixing after norm: last is 0, hence the coupling is the identity; body stays as it comes.")
def test_step_start(student, rng):
    for C in (2, 3, 5):
        for dtype, tolerance in ((F64, 1e-10), (F32, 1e-4)):
            parts = some_parts(C, rng, dtype, size=0.0)
            (step, _), x = glow_step(student, parts), randn(3, C, 3, 2, rng=rng, dtype=dtype)
            found = student.parameters(step)
            assert sorted(found) == sorted(parts.numbers), "the parameters are not those of norm, mixing, body and last"
            for name, expected in parts.numbers.items():
                assert_close(found[name], expected, 0.0, what=f"the parameter {name} of a new step")
            for method, flow in (("forward", both), ("inverse", back)):
                assert_pair(flow(step, x), parts.run(method, x), tolerance, " of a new step")
    gradients = student.gradients(step, "forward", x, output=0)
    found = [gradients[name] for name in ("last.weight", "last.bias")]
    assert all(value is not None and value.abs().max() > 0 for value in found), "no gradient reaches last in a new step"


@STEP("forward is norm, mixing, and (h + t) sigmoid(r + 2) / sigmoid(2) of the first channels, read from the others.")
def test_step_forward(student, rng):
    for C, H, W in ((2, 2, 3), (3, 1, 1), (4, 3, 3), (7, 2, 2)):
        for size in (0.3, 1.5):
            parts, x = some_parts(C, rng, size=size), randn(5, C, H, W, rng=rng)
            step, _ = trained_step(student, parts)
            expected = parts.run("forward", x)
            assert_close(shuffled(one_of(step.forward), x, rng), expected[0], 1e-7, relative=1e-7, what="z")
            found = shuffled(one_of(step.forward, 1), x, rng)
            assert_close(found, expected[1], 1e-7, relative=1e-7, what="the log-determinant of forward")


@STEP("inverse undoes the coupling first and norm last; the log-determinant is that of its own map, with all parts.")
def test_step_inverse(student, rng):
    for C, H, W in ((2, 2, 3), (3, 1, 1), (4, 3, 3), (7, 2, 2)):
        parts, z = some_parts(C, rng), randn(5, C, H, W, rng=rng)
        step, _ = trained_step(student, parts)
        expected = parts.run("inverse", z)
        assert_close(shuffled(one_of(step.inverse), z, rng), expected[0], 1e-7, relative=1e-7, what="x")
        found = shuffled(one_of(step.inverse, 1), z, rng)
        assert_close(found, expected[1], 1e-7, relative=1e-7, what="the log-determinant of inverse")
        assert_close(back(step, both(step, z)[0])[0], z, 1e-8, relative=1e-8, what="inverse(forward(x))")


@STEP("norm, mixing and body are called once in each direction, and body reads exactly the same numbers: it may jump.")
def test_step_calls(student, rng):
    parts = some_parts(4, rng)
    exact = {
        "norm.weight": torch.diag(torch.tensor([2.0, 0.5, -4.0, 1.0], dtype=F64)),
        "norm.bias": torch.zeros(4, 1, 1),
    }
    order = torch.eye(4, dtype=F64)[torch.randperm(4, generator=rng)]
    parts.numbers.update({**exact, "norm.bias": exact["norm.bias"].double(), "mixing.weight": order})
    parts.norm_bend = 0.0
    for jumps in (True, False):
        step, given = trained_step(student, parts, jumps)
        for batch in ((4,), (), (2, 2)):
            x = randn(*batch, 4, 3, 2, rng=rng)
            before = [module.count(returns=integer()) for module in given]
            z = both(step, x)[0]
            between = [module.count(returns=integer()) for module in given]
            again = back(step, z)[0]
            after = [module.count(returns=integer()) for module in given]
            assert_close(again, x, 1e-10, relative=1e-10, what="inverse(forward(x)), with a body that jumps,")
            h = torch.einsum("oc,...chw->...ohw", order @ parts.numbers["norm.weight"], x)
            assert_close(z[..., 2:, :, :], h[..., 2:, :, :], 0.0, what="a channel that the coupling keeps")
            for counts in (zip(before, between), zip(between, after)):
                assert all(new == old + 1 for old, new in counts), "a module was not called exactly once in a direction"


@STEP("The log-determinant comes from logsigmoid: it is right where sigmoid(r + 2) is 0 in a float.")
def test_step_extremes(student, rng):
    for dtype in (F64, F32):
        for r in (-1e4, -1000.0, -120.0, 50.0, 1e4):
            parts, x = some_parts(4, rng, dtype), randn(3, 4, 2, 2, rng=rng, dtype=dtype)
            parts.numbers["last.bias"][:2] = r
            step, _ = trained_step(student, parts)
            found, expected = both(step, x)[1], parts.run("forward", x)[1]
            assert_close(found, expected, 1e-3, relative=1e-5, what="the log-determinant of forward")
            step = step_of_nothing(student, {"last.bias": parts.numbers["last.bias"]}, rng)
            found = step.inverse(x, returns=(tensor(*x.shape, dtype=dtype, finite=False), tensor(3, dtype=dtype)))[1]
            log_scale = torch.nn.functional.logsigmoid(torch.tensor(r + 2, dtype=dtype)) - LOG_SIGMOID_2
            assert_close(found, -8 * log_scale.expand(3), 1e-3, relative=1e-5, what="the log-determinant of inverse")
    for r in (-40.0, -25.0):
        parts, z = some_parts(4, rng, size=0.1), randn(2, 4, 2, 2, rng=rng)
        parts.numbers["last.bias"][:2], parts.norm_bend = r, 0.0
        found, expected = back(trained_step(student, parts)[0], z), parts.run("inverse", z)
        unit = expected[0].abs().max()
        assert_close(found[0] / unit, expected[0] / unit, 1e-8, what="x where r is far below 0, in large units,")
        assert_close(found[1], expected[1], 1e-6, what="the log-determinant of inverse")


@STEP("Any number of batch dimensions, also none, in either mode, and float32 in, float32 out.")
def test_step_batches(student, rng):
    for dtype, tolerance in ((F64, 1e-8), (F32, 1e-3)):
        parts = some_parts(3, rng, dtype)
        step, _ = trained_step(student, parts)
        for batch in BATCHES:
            x = randn(*batch, 3, 2, 3, rng=rng, dtype=dtype)
            mode(step, len(batch) != 1)
            assert_pair(both(step, x), parts.run("forward", x), tolerance)
            assert_pair(back(step, x), parts.run("inverse", x), tolerance)


@STEP("Gradients reach the images and every parameter through both values of both directions.")
def test_step_gradients(student, rng):
    for size, training in ((0.3, True), (0.0, True), (0.3, False)):
        parts, x = some_parts(3, rng, size=size), randn(2, 3, 2, 2, rng=rng)
        step = mode(trained_step(student, parts)[0], training)
        for value in parts.numbers.values():
            value.requires_grad_()
        assert_gradients(student, step, x, parts.run, parts.numbers)
    for r in (-1000.0, 1000.0):  # where sigmoid(r + 2) is 0 or 1 in a float
        parts, x = some_parts(4, rng, size=0.1), randn(2, 4, 2, 2, rng=rng)
        parts.numbers["last.bias"][:2] = r
        step, _ = trained_step(student, parts)
        for value in parts.numbers.values():
            value.requires_grad_()
        assert_gradients(student, step, x, parts.run, parts.numbers, ("forward",), (1,))


@STEP("The images that are handed in stay as they are.")
def test_step_leaves_tensors_alone(student, rng):
    x = randn(2, 4, 2, 2, rng=rng)
    numbers = {"last.weight": randn(4, 4, 3, 3, rng=rng), "last.bias": randn(4, rng=rng)}
    for step in (trained_step(student, some_parts(4, rng))[0], step_of_nothing(student, numbers, rng)):
        assert_left_alone(student, *((step.bound(name), x) for name in ("forward", "inverse")))


# -------------------------------------------------------------------------------- 4: a temperature for every level


@dataclass
class World:
    """The numbers of all steps and priors of a given flow, and what its latents are."""

    event: tuple[int, int, int]
    steps: list[tuple[torch.Tensor, torch.Tensor, bool]]
    priors: list[tuple[torch.Tensor, torch.Tensor]]

    def values(self):
        """All numbers by the name that the flow gives them."""
        named = [(f"steps.{n}", step) for n, step in enumerate(self.steps)]
        named += [(f"priors.{n}", prior) for n, prior in enumerate(self.priors)]
        return {f"{name}.{kind}": part for name, parts in named for kind, part in zip(("weight", "bias"), parts)}

    def shapes(self):
        C, H, W = self.event
        found = []
        for level, (_, _, fold) in enumerate(self.steps):
            C, W = (2 * C, W // 2) if fold else (C, W)
            on = C // 2 if level < len(self.priors) else 0
            found.append((C - on, H, W))
            C = on
        return found

    def prior(self, level, x):
        weight, bias = self.priors[level]
        return (torch.tanh(torch.einsum("oc,...chw->...ohw", weight, x)) + bias).chunk(2, dim=-3)

    def encode(self, x):
        """The latents, each as an image, and the log-determinant of the map to them."""
        latents, total = [], 0.0
        for level, (weight, bias, fold) in enumerate(self.steps):
            x, log_det = step_law(weight, bias, 0.6, fold, "forward", x)
            total = total + log_det
            if level < len(self.priors):
                x, out = x.tensor_split([x.shape[-3] // 2], dim=-3)
                location, log_scale = self.prior(level, x)
                latents.append((out - location) * (-log_scale).exp())
                total = total - log_scale.flatten(-3).sum(dim=-1)
        return [*latents, x], total

    def decode(self, latents):
        x = latents[-1]
        for level in reversed(range(len(self.steps))):
            if level < len(self.priors):
                location, log_scale = self.prior(level, x)
                x = torch.cat([x, latents[level] * log_scale.exp() + location], dim=-3)
            weight, bias, fold = self.steps[level]
            x, _ = step_law(weight, bias, 0.6, fold, "inverse", x)
        return x

    def log_prob(self, x, temperatures):
        latents, total = self.encode(x)
        for z, T in zip(latents, temperatures):
            normal = -0.5 * (z / T).square() - math.log(T) - 0.5 * math.log(2 * math.pi)
            total = total + normal.flatten(-3).sum(dim=-1)
        return total


# Images (C, H, W) and which of the steps fold them.
WORLDS = (
    ((3, 2, 1), (False, False)),
    ((5, 1, 2), (False, False, False)),
    ((1, 2, 4), (True, True)),
    ((2, 1, 2), (False, True)),
    ((2, 2, 2), (False,)),
)


def some_world(event, folds, rng, dtype=F64):
    C, steps, priors = event[0], [], []
    for level, fold in enumerate(folds):
        C = 2 * C if fold else C
        steps.append((some_matrix(C, rng).to(dtype), 0.5 * randn(C, 1, 1, rng=rng, dtype=dtype), fold))
        if level < len(folds) - 1:
            on, C = C // 2, C - C // 2
            prior = randn(2 * C, on, rng=rng, dtype=dtype), 0.5 * randn(2 * C, 1, 1, rng=rng, dtype=dtype)
            priors.append(prior)
            C = on
    return World(event, steps, priors)


def flow_of(student, world, coder=False):
    bench = bench_of(student)
    kinds = ("weight", "bias")
    steps = [bench.step(dict(zip(kinds, step)), 0.6, step[2], returns=handle()) for step in world.steps]
    priors = [bench.prior(dict(zip(kinds, prior)), returns=handle()) for prior in world.priors]
    return bench.levels(steps, priors, world.shapes(), coder, returns=handle())


def some_temperatures(world, rng):
    return uniform(len(world.steps), rng=rng, low=0.3, high=2.0).tolist()


def density(student, flow, x, temperatures):
    return student.tempered_log_prob(flow, x, temperatures, returns=tensor(*x.shape[:-3], dtype=x.dtype))


def drawn(student, world, flow, n, temperatures, seed=None, dtype=F64):
    """Samples, and the latents that they were made of."""
    x = student.tempered_sample(flow, n, temperatures, returns=tensor(n, *world.event, dtype=dtype), seed=seed)
    return x, world.encode(x)[0]


@HEAT(
    "The log-density is that of normal latents of deviation T on every level, plus all log-determinants, in any batch."
)
def test_temperature_density(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, x = flow_of(student, world), world.decode([randn(6, *shape, rng=rng) for shape in world.shapes()])
        for temperatures in (some_temperatures(world, rng), tuple(some_temperatures(world, rng)), [1] * len(folds)):
            found = shuffled(lambda at, f=flow, T=temperatures: density(student, f, at, T), x, rng)
            assert_close(found, world.log_prob(x, temperatures), 1e-5, relative=1e-7, what="the log-density")


@HEAT("The tempered density integrates to 1, at any temperatures.")
def test_temperature_total_mass(student, rng):
    world = some_world((2, 1, 1), (False, False), rng)
    flow = flow_of(student, world)
    at_ones = world.decode([randn(500, 1, 1, 1, rng=rng) for _ in range(2)]).reshape(500, 2)
    for T in ((0.4, 1.5), (1.5, 0.5)):
        mass, error = total_mass(
            lambda at, T=T: density(student, flow, at.reshape(-1, 2, 1, 1), T),
            2,
            rng,
            center=at_ones.mean(dim=0),
            scale=1.5 * at_ones.std(dim=0),
        )
        assert abs(mass - 1) < 6 * error + 0.02, f"the total mass is {mass:.3f}, with a standard error of {error:.3f}"


@HEAT("Any number of batch dimensions, also none, and any dtype.")
def test_temperature_batches(student, rng):
    for dtype, tolerance in ((F64, 1e-5), (F32, 1e-3)):
        world = some_world((3, 1, 2), (False, True), rng, dtype)
        flow, temperatures = flow_of(student, world), some_temperatures(world, rng)
        for batch in BATCHES:
            latents = [randn(*batch, *shape, rng=rng, dtype=dtype) for shape in world.shapes()]
            x = world.decode(latents)
            found, expected = density(student, flow, x, temperatures), world.log_prob(x, temperatures)
            assert_close(found, expected, tolerance, relative=tolerance, what="the log-density")
        for n in (1, 7):
            drawn(student, world, flow, n, temperatures, dtype=dtype)


@HEAT("After the same seed the latents are T times those at temperatures 1, level by level, also where T is 0.")
def test_temperature_scales_the_noise(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, seed = flow_of(student, world), int(torch.randint(0, 2**31, (1,), generator=rng))
        plain = drawn(student, world, flow, 30, (1.0,) * len(folds), seed)[1]
        frozen = int(torch.randint(0, len(folds), (1,), generator=rng))
        one_cold = [0 if level == frozen else T for level, T in enumerate(some_temperatures(world, rng))]
        for temperatures in (some_temperatures(world, rng), one_cold, [0.0] * len(folds), (2,) * len(folds)):
            for level, found in enumerate(drawn(student, world, flow, 30, temperatures, seed)[1]):
                what = f"the latents of level {level}, against T times those at temperature 1,"
                assert_close(found, temperatures[level] * plain[level], 1e-6, relative=1e-6, what=what)


@HEAT("The noise is standard normal, of its own for every entry of every image, and new in every call.")
def test_temperature_noise(student, rng):
    world = some_world((3, 1, 2), (False, False), rng)
    flow = flow_of(student, world)
    T = some_temperatures(world, rng)
    first = torch.cat([(z / t).flatten(1) for z, t in zip(drawn(student, world, flow, 2000, T)[1], T)], dim=1)
    words = "the latents, divided by their temperatures,"
    same_distribution(first, randn(*first.shape, rng=rng), rng, what=words)
    same_distribution(first.flatten(), randn(first.numel(), rng=rng), rng, what=words)
    correlation = torch.corrcoef(first.T) - torch.eye(first.shape[1])
    assert correlation.abs().max() < 0.15, "the numbers of an image depend on each other"
    spec = tensor(50, *world.event)
    pair_of_calls = bench_of(student).twice("tempered_sample", flow, 50, T, returns=(spec, spec))
    z = torch.cat([vectors(world, x) for x in pair_of_calls])
    assert torch.cdist(z, z).fill_diagonal_(9.0).min() > 1e-4, "an image comes again, in one call or the next one"
    assert torch.cdist(z, -z).min() > 1e-4, "the latents of an image are those of another one with the other sign"


@HEAT("The images are independent of each other: nothing holds the mean of one call fixed.")
def test_temperature_free_mean(student, rng):
    world = some_world((2, 1, 1), (False, False), rng)
    flow = flow_of(student, world)
    seeds = torch.randint(0, 2**31, (60,), generator=rng).tolist()
    means = torch.stack([drawn(student, world, flow, 12, [1.0, 1.0], seed)[1][0].mean() for seed in seeds])
    spread = float(means.std())
    assert 0.12 < spread < 0.5, f"the mean of 12 latents has the deviation {spread:.2f}, where 12 ** -0.5 is right"


@HEAT("Gradients of the log-density reach the images and every parameter of the flow.")
def test_temperature_gradients(student, rng):
    for event, folds in (WORLDS[0], WORLDS[2]):
        world = some_world(event, folds, rng)
        flow, T = flow_of(student, world), some_temperatures(world, rng)
        x = world.decode([randn(3, *shape, rng=rng) for shape in world.shapes()])
        values, points = world.values(), x.clone().requires_grad_()
        for value in values.values():
            value.requires_grad_()
        *right, at_points = torch.autograd.grad(world.log_prob(points, T).sum(), [*values.values(), points])
        gradients = student.gradients(flow, "call", "tempered_log_prob", x, T)
        for name, expected in zip(values, right):
            found = gradients[name]
            assert found is not None, f"no gradient reaches the parameter {name} of the flow"
            assert_close(found, expected, 1e-5, relative=1e-6, what=f"the gradient of {name}")
        found = student.input_gradient("tempered_log_prob", flow, x, T, wrt=1, returns=tensor(*x.shape))
        assert_close(found, at_points, 1e-5, relative=1e-6, what="the gradient of the images")


@HEAT("A wrong number of temperatures and negative ones raise a ValueError; so does 0, for the density only.")
def test_temperature_refuses(student, rng):
    for event, folds in (((3, 1, 2), (False, False)), ((2, 1, 2), (False,))):
        world = some_world(event, folds, rng)
        flow, x, L = flow_of(student, world), randn(2, *event, rng=rng), len(folds)
        bad = [[1.0] * (L - 1), [1.0] * (L + 1), (0.5,) * (L + 2)]
        bad += [[-1.0 if level == at else 1.0 for level in range(L)] for at in range(L)]
        cold = [[0 if level == at else 1.0 for level in range(L)] for at in range(L)]
        cases = [(f"the temperatures {T} of {L} levels in sampling", "tempered_sample", flow, 2, T) for T in bad]
        words = "the temperatures {} of {} levels in the density"
        cases += [(words.format(T, L), "tempered_log_prob", flow, x, T) for T in bad + cold]
        assert_refused(student, cases)


@HEAT("The images and the flow that are handed in stay as they are, and the density leaves random numbers alone.")
def test_temperature_leaves_tensors_alone(student, rng):
    world = some_world((3, 1, 2), (False, False), rng)
    flow, x = flow_of(student, world), randn(2, 3, 1, 2, rng=rng)
    in_density = ("tempered_log_prob", flow, x, (0.5, 2.0))
    assert_left_alone(student, ("tempered_sample", flow, 3, (0.5, 2.0)), in_density)
    assert_draws_nothing(student, in_density)


# ---------------------------------------------------------------------------------- 5: paths that stay on the shell


def vectors(world, x):
    """The latents of images (*batch, C, H, W) as vectors (*batch, D)."""
    return torch.cat([z.flatten(-3) for z in world.encode(x)[0]], dim=-1)


def images(world, z):
    sizes = [math.prod(shape) for shape in world.shapes()]
    parts = zip(z.split(sizes, dim=-1), world.shapes())
    return world.decode([part.reshape(*z.shape[:-1], *shape) for part, shape in parts])


def right_path(world, x0, x1, k):
    z, w = vectors(world, x0), vectors(world, x1)
    a, b = z.norm(dim=-1, keepdim=True), w.norm(dim=-1, keepdim=True)
    angle = ((z / a) * (w / b)).sum(dim=-1, keepdim=True).clamp(-1, 1).arccos()
    found = []
    for n in range(k):
        t = n / (k - 1)
        way = (((1 - t) * angle).sin() * z / a + (t * angle).sin() * w / b) / angle.sin()
        found.append(images(world, ((1 - t) * a + t * b) * way))
    return torch.stack(found)


def two_ends(world, batch, rng, dtype=F64):
    """Two batches of images whose latents have very different lengths and are neither alike nor opposite."""
    D = math.prod(world.event)
    z, w = randn(*batch, D, rng=rng), uniform(*batch, 1, rng=rng, low=0.3, high=1.5) * randn(*batch, D, rng=rng)
    cosine = torch.cosine_similarity(z, w, dim=-1)[..., None]
    w = torch.where(cosine.abs() > 0.7, w - z * (w * z).sum(dim=-1, keepdim=True) / z.square().sum(-1, keepdim=True), w)
    return images(world, z.to(dtype)), images(world, w.to(dtype))


def path_of(student, flow, x0, x1, k):
    return student.latent_path(flow, x0, x1, k, returns=tensor(k, *x0.shape, dtype=x0.dtype))


def some_attribute(n, rng):
    has = torch.arange(n) < int(torch.randint(2, n - 1, (1,), generator=rng))
    return has[torch.randperm(n, generator=rng)]


def right_direction(world, x, has, other=None):
    z = vectors(world, x)
    v = z[has].mean(dim=0) - z[~has].mean(dim=0)
    if other is not None:
        u = z[other].mean(dim=0) - z[~other].mean(dim=0)
        v = v - (v @ u) / (u @ u) * u
    return v


def latent_shapes(world):
    """The shapes of one image's latents, as the flow gives them."""
    last = len(world.priors)
    return [
        shape if level == last else (*shape[: level % 3], math.prod(shape[level % 3 :]))
        for level, shape in enumerate(world.shapes())
    ]


def direction_of(student, world, flow, x, has, *other):
    spec = tuple(tensor(*shape, dtype=x.dtype) for shape in latent_shapes(world))
    return student.attribute_direction(flow, x, has, *other, returns=spec)


@PATH(
    "The path goes round in latent space: the length of the whole latent vector changes evenly, and so does its angle."
)
def test_path(student, rng):
    for event, folds in WORLDS:
        world = some_world(event, folds, rng)
        flow, (x0, x1) = flow_of(student, world, True), two_ends(world, (4,), rng)
        for k in (2, 3, 6):
            found = path_of(student, flow, x0, x1, k)
            assert_close(found, right_path(world, x0, x1, k), 1e-6, relative=1e-6, what="an image of the path")
            assert_close(found[0], x0, 1e-6, relative=1e-6, what="the first image of the path, against x0,")
            assert_close(found[-1], x1, 1e-6, relative=1e-6, what="the last image of the path, against x1,")


@PATH("The path is that of the formula for alike images, too: at any angle it goes round.")
def test_path_of_alike_images(student, rng):
    world = some_world((3, 2, 1), (False, False), rng)
    flow, z, n = flow_of(student, world, True), randn(6, 6, rng=rng), randn(6, 6, rng=rng)
    n = n - z * (n * z).sum(dim=1, keepdim=True) / z.square().sum(dim=1, keepdim=True)
    n = n * (z.norm(dim=1) / n.norm(dim=1))[:, None]
    for angle in (1e-3, 0.01, 0.03, 0.1, 0.3, 0.7, 2.5):
        x0, x1 = images(world, z), images(world, 1.3 * (z * math.cos(angle) + n * math.sin(angle)))
        found, expected = path_of(student, flow, x0, x1, 4), right_path(world, x0, x1, 4)
        assert_close(found, expected, 1e-6, relative=1e-6, what=f"an image of a path with the angle {angle}")


@PATH("Every pair of images has a path of its own, for any number of batch dimensions, also none, and any dtype.")
def test_path_batches(student, rng):
    for dtype, tolerance in ((F64, 1e-6), (F32, 1e-2)):
        world = some_world((3, 1, 2), (False, True), rng, dtype)
        flow = flow_of(student, world, True)
        for batch in BATCHES:
            x0, x1 = two_ends(world, batch, rng, dtype)
            found, expected = path_of(student, flow, x0, x1, 3), right_path(world, x0, x1, 3)
            assert_close(found, expected, tolerance, relative=tolerance, what="an image of the path")


@PATH("Between equal images, and between nearly equal ones, the path stays there: no division by 0.")
def test_path_of_equal_images(student, rng):
    for dtype, tolerance in ((F64, 1e-5), (F32, 1e-2)):
        world = some_world((3, 2, 1), (False, False), rng, dtype)
        flow, (x0, other) = flow_of(student, world, True), two_ends(world, (6,), rng, dtype)
        for distance in (0.0, 1e-15, 1e-12, 1e-9, 1e-8, 1e-7):
            x1 = x0 + distance * randn(*x0.shape, rng=rng, dtype=dtype)
            found = path_of(student, flow, x0, x1, 4)
            assert_close(found, x0.expand(4, *x0.shape), tolerance, what="a path between equal images")
        x1 = torch.cat([x0[:3], other[3:]])  # equal images beside others in one batch
        found, expected = path_of(student, flow, x0, x1, 4)[:, 3:], right_path(world, x0[3:], x1[3:], 4)
        assert_close(found, expected, tolerance, relative=tolerance, what="a path beside one between equal images")


@PATH("A path of fewer than two images raises a ValueError, and so does an attribute without two sides.")
def test_path_refuses(student, rng):
    world = some_world((3, 1, 2), (False, False), rng)
    flow, (x0, x1) = flow_of(student, world, True), two_ends(world, (6,), rng)
    cases = [(f"a path of {k} images", "latent_path", flow, x0, x1, k) for k in (1, 0, -3)]
    good, all_of, none_of = some_attribute(6, rng), torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    for words, bad in (("an attribute that all have", all_of), ("an attribute that none has", none_of)):
        cases.append((words, "attribute_direction", flow, x0, bad))
        cases.append((f"{words}, as the other one", "attribute_direction", flow, x0, good, bad))
    assert_refused(student, cases)


@PATH("Gradients reach the two images of a path and the flow, also beside a pair of equal images.")
def test_path_gradients(student, rng):
    for event, folds in (WORLDS[1], WORLDS[3]):
        world = some_world(event, folds, rng)
        flow, ends = flow_of(student, world, True), two_ends(world, (2,), rng)
        factors = randn(4, *ends[0].shape, rng=rng)
        leaves = [x.clone().requires_grad_() for x in ends]
        right = torch.autograd.grad((right_path(world, *leaves, 4) * factors).sum(), leaves)
        for n, expected in enumerate(right):
            args = [factors, "latent_path", flow, *ends, 4]
            found = student.input_gradient(
                bench_of(student).bound("weighed"), *args, wrt=3 + n, returns=tensor(*expected.shape)
            )
            assert_close(found, expected, 1e-5, relative=1e-5, what=f"the gradient of image x{n}")
        values = world.values()
        for value in values.values():
            value.requires_grad_()
        right = torch.autograd.grad(right_path(world, *ends, 4).sum(), list(values.values()))
        gradients = student.gradients(flow, "call", "latent_path", *ends, 4)
        for name, expected in zip(values, right):
            assert gradients[name] is not None, f"no gradient reaches the parameter {name} of the flow"
            assert_close(gradients[name], expected, 1e-5, relative=1e-5, what=f"the gradient of {name}")
    world = some_world((3, 2, 1), (False, False), rng)
    flow, (x0, x1) = flow_of(student, world, True), two_ends(world, (3,), rng)
    factors = randn(4, *x0.shape, rng=rng)
    x1[0], factors[:, 0] = x0[0], 0.0
    points = x0.clone().requires_grad_()
    (right,) = torch.autograd.grad((right_path(world, points[1:], x1[1:], 4) * factors[:, 1:]).sum(), points)
    args, spec = [factors, "latent_path", flow, x0, x1, 4], tensor(*x0.shape, finite=False)
    found = student.input_gradient(bench_of(student).bound("weighed"), *args, wrt=3, returns=spec)
    assert_close(found[1:], right[1:], 1e-5, relative=1e-5, what="the gradient of an image beside a pair of equal ones")


@PATH(
    "The direction is the mean latent with the attribute minus the mean without it, less its part along the other one."
)
def test_direction(student, rng):
    for event, folds in WORLDS:
        for dtype, tolerance in ((F64, 1e-5), (F32, 1e-2)):
            world = some_world(event, folds, rng, dtype)
            flow, x = flow_of(student, world, True), two_ends(world, (9,), rng, dtype)[0]
            has, other = some_attribute(9, rng), torch.zeros(9, dtype=torch.bool)
            other[has.nonzero()[:1]], other[(~has).nonzero()[:1]] = True, True
            other[has.nonzero()[-1]] = True  # an attribute that goes along with the first one, but not always
            for given in ((), (None,), (other,)):
                found = torch.cat([part.flatten() for part in direction_of(student, world, flow, x, has, *given)])
                expected = right_direction(world, x, has, *given)
                assert_close(found, expected, tolerance, relative=tolerance, what="the direction")


@PATH("The latents move by the amount times the direction, on every level, for any batch.")
def test_move(student, rng):
    for (event, folds), batch in zip(WORLDS, BATCHES):
        for dtype, tolerance in ((F64, 1e-6), (F32, 1e-2)):
            world = some_world(event, folds, rng, dtype)
            flow, x = flow_of(student, world, True), two_ends(world, batch, rng, dtype)[0]
            way = [0.5 * randn(*shape, rng=rng, dtype=dtype) for shape in latent_shapes(world)]
            flat = torch.cat([part.flatten() for part in way])
            for k in (1, 4):
                amounts = randn(k, rng=rng, dtype=dtype)
                found = student.move_along(flow, x, tuple(way), amounts, returns=tensor(k, *x.shape, dtype=dtype))
                shifts = amounts.reshape(k, *[1] * (len(batch) + 1)) * flat
                expected = images(world, vectors(world, x) + shifts)
                assert_close(found, expected, tolerance, relative=tolerance, what="a moved image")


@PATH("Gradients reach images, directions and amounts.")
def test_direction_gradients(student, rng):
    world = some_world((3, 1, 2), (False, True), rng)
    flow, x = flow_of(student, world, True), two_ends(world, (7,), rng)[0]
    has, other, shapes = some_attribute(7, rng), some_attribute(7, rng).roll(3), latent_shapes(world)
    factors = [randn(*shape, rng=rng) for shape in shapes]
    points = x.clone().requires_grad_()
    total = right_direction(world, points, has, other) @ torch.cat([part.flatten() for part in factors])
    (expected,) = torch.autograd.grad(total, points)
    target = bench_of(student).bound("weighed_direction")
    found = student.input_gradient(target, flow, x, has, other, factors, wrt=1, returns=tensor(*x.shape))
    assert_close(found, expected, 1e-5, relative=1e-5, what="the gradient of the direction for the images")

    amounts, weights = randn(3, rng=rng), randn(3, *x.shape, rng=rng)
    leaves = [value.clone().requires_grad_() for value in (x, amounts, *factors)]
    flat = torch.cat([part.flatten() for part in leaves[2:]])
    moved = images(world, vectors(world, leaves[0]) + leaves[1][:, None, None] * flat)
    right = torch.autograd.grad((moved * weights).sum(), leaves)
    target = bench_of(student).bound("weighed_move")
    for at, expected in zip((1, 2, 4, 5), right):
        args = [flow, x, amounts, weights, *factors]
        found = student.input_gradient(target, *args, wrt=at, returns=tensor(*expected.shape))
        assert_close(found, expected, 1e-6, relative=1e-6, what="a gradient of move_along")


@PATH("The tensors and the flow that are handed in stay as they are, and so do torch's random numbers.")
def test_path_leaves_tensors_alone(student, rng):
    world = some_world((3, 1, 2), (False, False), rng)
    flow, (x0, x1) = flow_of(student, world, True), two_ends(world, (6,), rng)
    has, other = some_attribute(6, rng), some_attribute(6, rng)
    way = tuple(randn(*shape, rng=rng) for shape in latent_shapes(world))
    calls = [("latent_path", flow, x0, x1, 3), ("attribute_direction", flow, x0, has, other)]
    calls.append(("move_along", flow, x0, way, randn(2, rng=rng)))
    assert_left_alone(student, *calls)
    assert_draws_nothing(student, *calls)
