"""Hidden suite of the exercises of chapter 6: autoregressive flows.

Every input is drawn anew from the seed. Modules that are handed to the student's code run beside it; what they should
give is computed here, from their numbers, so that nothing depends on what became of them there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product

import torch

from course_flows.grading.suite import (
    assert_close,
    boolean,
    finite_difference_log_det,
    handle,
    integer,
    property_of,
    same_distribution,
    scalar,
    shuffled,
    tensor,
)

FLOW, SLOW, KL = "sec-autoregressive-flow", "sec-maf-iaf", "sec-which-kl"
MASKS = partial(property_of, "made-masks", hint_link="sec-made")
MAF = partial(property_of, "maf-layer", hint_link=FLOW)
TURNED = partial(property_of, "iaf", hint_link=SLOW)
REVERSE = partial(property_of, "reverse-kl", hint_link=KL)
SAMPLING = partial(property_of, "sampling", hint_link="sec-incremental-inverse")
PASSES = partial(property_of, "sampling", hint_link=FLOW)
F32, F64 = torch.float32, torch.float64
BATCHES = ((), (1,), (3,), (2, 2), (2, 1, 3))

# Runs beside the student's code: networks, layers, targets, and a witness of what shows only where a call is made.
BENCH = """
import sys
from torch.utils._python_dispatch import TorchDispatchMode

def callable_of(target):
    return getattr(sys.modules["__main__"], target) if isinstance(target, str) else target

class Given(torch.nn.Module):
    def __init__(self, parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, torch.nn.Parameter(part.clone()))
        self.made = []

    def count(self, *names):
        return sum(name in names for name in self.made) if names else len(self.made)

    def sizes(self):
        return torch.tensor(self.made)

    def forget(self):
        self.made.clear()
        return True

    def call(self, name, *args):
        return callable_of(name)(self, *args)

    def same_dtype(self, x):
        dtype = next(self.parameters()).dtype
        if x.dtype != dtype:
            raise ValueError(f"a module whose numbers are {dtype} was given {x.dtype}")

    def of_context(self, x, context):
        if not hasattr(self, "looking"):
            if context is not None:
                raise ValueError("a module without a context was given one")
            return 0
        if context is None:
            raise ValueError("a module that wants a context was given none")
        if context.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"points of shape {tuple(x.shape)} came with a context of shape {tuple(context.shape)}")
        return context @ self.looking.T

class Net(Given):
    "mu and lambda by one hidden layer; with wild, lambda is huge where a coordinate that comes before is 0"
    def __init__(self, parts, masks, order, wild):
        super().__init__(parts)
        self.masks, self.order, self.wild = masks, order, wild

    def forward(self, x, context=None):
        self.same_dtype(x)
        self.made.append("call")
        inner, outer, before = self.masks
        h = torch.tanh(x @ (self.inner * inner).T + self.bias + self.of_context(x, context))
        mu, raw = (h @ (self.outer * outer).T + self.shift).chunk(2, dim=-1)
        if self.wild:
            raw = raw + 1e4 * (((x == 0).to(x.dtype) @ before.T) > 0)
        return mu, raw

class Layer(Given):
    "v = A x + b, plus what the context adds, then v + bend sqrt(1 + v^2)"
    def __init__(self, parts, bend):
        super().__init__(parts)
        self.bend = bend

    def log_det(self, v):
        curved = torch.log(1 + self.bend * v / (v * v + 1).sqrt()).sum(dim=-1)
        return torch.linalg.slogdet(self.matrix).logabsdet + curved

    def forward(self, x, context=None):
        self.same_dtype(x)
        self.made.append("forward")
        v = x @ self.matrix.T + self.shift + self.of_context(x, context)
        return v + self.bend * (v * v + 1).sqrt(), self.log_det(v)

    def inverse(self, z, context=None):
        self.same_dtype(z)
        self.made.append("inverse")
        rest = 1 - self.bend * self.bend
        v = (z - self.bend * (z * z + rest).sqrt()) / rest
        x = (v - self.shift - self.of_context(z, context)) @ torch.linalg.inv(self.matrix).T
        return x, -self.log_det(v)

class Posterior(Given):
    "v = mean + noise scale, then v + bend sqrt(1 + v^2); its noise is a table that is read from above to below"
    def __init__(self, parts, noise, bend):
        super().__init__(parts)
        self.noise, self.bend = noise, bend

    def rsample_and_log_prob(self, n):
        start = sum(self.made)
        self.made.append(n)
        noise = self.noise[start : start + n]
        if len(noise) < n:
            raise ValueError("more samples were drawn than asked for")
        v = self.mean + noise * self.log_scale.exp()
        slope = torch.log(1 + self.bend * v / (v * v + 1).sqrt())
        log_q = (-0.5 * noise * noise - 0.5 * math.log(2 * math.pi) - self.log_scale - slope).sum(dim=-1)
        return v + self.bend * (v * v + 1).sqrt(), log_q

class Target(Given):
    def __init__(self, parts, height, cut):
        super().__init__(parts)
        self.height, self.cut = height, cut

    def forward(self, x):
        if x.dim() != 2:
            raise ValueError(f"log_target takes points (n, D), it was given the shape {tuple(x.shape)}")
        self.made.append(len(x))
        log_p = self.height - (x @ self.form.T + x.sin()).square().sum(dim=-1)
        return log_p if self.cut is None else torch.where(x[:, 0] > self.cut, log_p, -math.inf)

class Masked(torch.nn.Module):
    def __init__(self, weights, biases, order, degrees, bend):
        super().__init__()
        self.weights = torch.nn.ParameterList(part.clone() for part in weights)
        self.biases = torch.nn.ParameterList(part.clone() for part in biases)
        self.masks = [part != 0 for part in weights]
        self.order, self.degrees, self.bend, self.made = order, degrees, bend, [0, 0]

    def curve(self, v):
        if v.dtype != self.weights[0].dtype:
            raise ValueError(f"a network whose numbers are {self.weights[0].dtype} was given {v.dtype}")
        return torch.tanh(v) + self.bend * torch.cos(v)

    def activation(self, v):
        self.made[1] += v.numel()
        return self.curve(v)

    def forward(self, x):
        self.made[0] += 1
        h = x
        for weight, mask, bias in zip(self.weights[:-1], self.masks, self.biases[:-1]):
            h = self.curve(h @ (weight * mask).T + bias)
        mu, alpha = (h @ (self.weights[-1] * self.masks[-1]).T + self.biases[-1]).chunk(2, dim=-1)
        return mu, alpha

    def calls(self):
        return self.made[0]

    def activated(self):
        return self.made[1]

    def call(self, name, *args):
        return callable_of(name)(self, *args)

class Plain(torch.nn.Module):
    "a network of which nothing can be used but calls and the order"
    def __init__(self, net):
        super().__init__()
        self.net, self.order = [net], net.order

    def forward(self, x):
        return self.net[0](x)

class Multiplications(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        name = function._schema.name.split("::")[1].rstrip("_")
        at = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "vdot": 0, "linear": 0,
              "addmm": 1, "baddbmm": 1, "addbmm": 1, "addmv": 1}
        if name in at:
            left, right = args[at[name]], args[at[name] + 1]
            columns = right.shape[0] if name == "linear" else right.shape[-1] if right.dim() > 1 else 1
            self.total += left.numel() * columns
        elif name == "convolution":
            self.total += out.numel() * args[1].numel() // args[1].shape[0]
        elif name in ("mul", "addcmul", "addr", "ger", "outer"):
            self.total += out.numel()
        return out

class Bench:
    def net(self, parts, masks, order, wild=False):
        return Net(parts, masks, order, wild)

    def layer(self, parts, bend):
        return Layer(parts, bend)

    def posterior(self, parts, noise, bend):
        return Posterior(parts, noise, bend)

    def target(self, parts, height, cut=None):
        return Target(parts, height, cut)

    def masked(self, weights, biases, order, degrees, bend):
        return Masked(weights, biases, order, degrees, bend)

    def plain(self, net):
        return Plain(net)

    def multiplications(self, target, *args):
        kept = torch.Tensor.numpy, torch.Tensor.__array__

        def refuse(values, *args, **kwargs):
            if values.is_floating_point():
                raise TypeError("numbers leave torch, where multiplications are counted")
            return kept[0](values)

        torch.Tensor.numpy = torch.Tensor.__array__ = refuse
        try:
            with Multiplications() as made, torch.no_grad():
                callable_of(target)(*args)
        finally:
            torch.Tensor.numpy, torch.Tensor.__array__ = kept
        return made.total

    def leaves_alone(self, target, *args):
        torch.set_default_dtype(torch.float32)
        lists = [value for value in args if isinstance(value, list)]
        flat = [part for value in args for part in (value if isinstance(value, (list, tuple)) else [value])]
        flat.append(getattr(callable_of(target), "__self__", None))
        modules = [part for value in flat if isinstance(value, torch.nn.Module) for part in value.modules()]
        tensors = [value for value in flat if isinstance(value, torch.Tensor)]
        tensors += [part for module in modules for part in module.parameters()]
        before = [(value.clone(), value.requires_grad) for value in tensors]
        copies, good = [list(value) for value in lists], torch.ones(5, dtype=torch.bool)
        for mode in (True, False):
            for module in modules:
                module.train(mode)
                if type(module).__name__ == "Posterior":
                    module.forget()  # its table is read from above again
            callable_of(target)(*args)
            same = all(torch.equal(new, old) and new.requires_grad == flag for new, (old, flag) in zip(tensors, before))
            unmoved = all(module.training == mode for module in modules)
            settings = [torch.get_default_dtype() == torch.float32, torch.is_grad_enabled()]
            good &= torch.tensor([same, lists == copies, unmoved, *settings])
        return good

    def sets_seed(self, target, *args):
        states = []
        for _ in range(2):
            torch.rand(1)  # without a seed, the second call ends in another state
            callable_of(target)(*args)
            states.append(torch.get_rng_state())
        return torch.equal(*states)

    def draws_nothing(self, target, *args):
        torch.rand(1)  # no seed has the state after it
        before = torch.get_rng_state()
        callable_of(target)(*args)
        return torch.equal(before, torch.get_rng_state())

    def twice(self, target, *args):
        first = callable_of(target)(*args)
        return first, callable_of(target)(*args)

    def many(self, times, flow, n):
        return torch.stack([flow.rsample_and_log_prob(n)[0] for _ in range(times)])

    def carries_gradients(self, target, *args):
        return any(getattr(value, "requires_grad", False) for value in callable_of(target)(*args))

    def refuses(self, target, *args):
        try:
            callable_of(target)(*args)
        except ValueError:
            return True
        return False

bench = Bench()
"""


def bench_of(student):
    return student.define(BENCH, "bench")


def randn(*shape, rng, dtype=F64):
    return torch.randn(shape, dtype=F64, generator=rng).to(dtype)


def uniform(*shape, rng, low=0.0, high=1.0, dtype=F64):
    return (low + (high - low) * torch.rand(shape, dtype=F64, generator=rng)).to(dtype)


def some_order(D, rng):
    """An order that is not its own inverse, where there is one."""
    order = torch.randperm(D, generator=rng)
    while D > 2 and torch.equal(order[order], torch.arange(D)):
        order = torch.randperm(D, generator=rng)
    return order.tolist()


def places_of(order):
    return torch.tensor(order).argsort()


def before_of(order):
    """Bool (D, D): entry (i, j) says whether j comes before i."""
    places = places_of(order)
    return places[:, None] > places


def pair(x):
    """What a direction returns for points (*batch, D)."""
    return tensor(*x.shape, dtype=x.dtype), tensor(*x.shape[:-1], dtype=x.dtype)


def assert_pair(found, expected, tolerance, words=""):
    assert_close(found[0], expected[0], tolerance, relative=tolerance, what=f"a coordinate{words}")
    assert_close(found[1], expected[1], tolerance, relative=tolerance, what=f"a log-determinant{words}")


CARE = (
    "a tensor or a parameter that was handed in is changed",
    "a list that was handed in is changed",
    "a module that was handed in is switched between training and eval mode",
    "torch's default dtype is changed",
    "gradients are switched off, also for all that comes after",
)


def assert_left_alone(student, *calls):
    """Require calls, each a list of a target and its arguments, to leave what they are given as it is."""
    for target, *args in calls:
        kept = bench_of(student).leaves_alone(target, *args, returns=tensor(len(CARE), dtype=torch.bool))
        changed = [words for words, good in zip(CARE, kept.tolist()) if not good]
        assert not changed, " and ".join(changed)


def assert_draws_nothing(student, *calls):
    """Require calls, each a list of a target and its arguments, to leave torch's random numbers as they are."""
    for target, *args in calls:
        kept = bench_of(student).draws_nothing(target, *args, returns=boolean())
        assert kept, "random numbers are drawn, or a seed is set, where nothing is random"


def assert_gradients_agree(found, names, wanted, where, tolerance=1e-8):
    """Compare gradients by name with the right ones, None of which stand for zeros."""
    for name, expected in zip(names, wanted):
        if expected is None or not expected.abs().max() > 0:
            if found[name] is not None:
                assert_close(found[name], torch.zeros_like(found[name]), tolerance, what=f"the gradient of {name}")
            continue
        assert found[name] is not None, f"no gradient reaches the parameter {name} {where}"
        what = f"the gradient of {name} {where}"
        assert_close(found[name], expected, tolerance, relative=tolerance, what=what)


def normal_log_density(z):
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(dim=-1)


# ------------------------------------------------------------------------------ 1: masks for any order


def masks_of(student, order, hidden, parameters=1, context=0):
    sizes = [len(order) + context, *hidden, parameters * len(order)]
    specs = tuple(tensor(out, below, dtype=torch.bool) for below, out in pairwise(sizes))
    options = {"parameters": parameters, "context": context} if (parameters, context) != (1, 0) else {}
    return student.made_masks(order, list(hidden), **options, returns=specs)


def paths(masks):
    total = masks[0]
    for mask in masks[1:]:
        total = (mask.double() @ total.double()) > 0
    return total


def mask_cases(rng):
    """Sizes with at least as many units in every layer as there are degrees."""
    for D, C, parameters in ((2, 0, 1), (3, 0, 2), (5, 0, 3), (4, 2, 1), (6, 1, 2), (3, 3, 2), (2, 1, 3), (1, 2, 2)):
        least = max(D if C else D - 1, 1)
        for depth in (1, 2, 3):
            extra = torch.randint(0, 2 * D + 2, (depth,), generator=rng).tolist()
            yield some_order(D, rng), [least + more for more in extra], parameters, C


@MASKS("Each output sees exactly the inputs that come before its coordinate in the order, and the whole context.")
def test_masks_paths(student, rng):
    for order, hidden, parameters, C in mask_cases(rng):
        found, D = paths(masks_of(student, order, hidden, parameters, C)), len(order)
        expected = before_of(order).repeat_interleave(parameters, dim=0)
        own = torch.eye(D, dtype=torch.bool).repeat_interleave(parameters, dim=0)
        selves, later = (found[:, :D] & own).sum(), (found[:, :D] & ~expected).sum()
        missing, deaf = (expected & ~found[:, :D]).sum(), (~found[:, D:]).sum()
        outputs = f"for {D} coordinates"
        assert selves == 0, f"{selves} of {len(found)} outputs see their own coordinate {outputs}"
        assert later == 0, f"{later} times an output sees a coordinate that does not come before its own, {outputs}"
        assert missing == 0, f"{missing} times an output does not see a coordinate that comes before its own, {outputs}"
        assert deaf == 0, f"{deaf} times an output does not see a number of the context, {outputs}"


@MASKS("However few the units are, no output sees what does not come before its coordinate.", hint_link="sec-made-bugs")
def test_masks_of_few_units(student, rng):
    for D, C in ((5, 0), (7, 2), (4, 1), (3, 0)):
        for hidden in ([1], [2], [1, 1], [3, 1], [1, 6], [2, 9, 1]):
            order = some_order(D, rng)
            found = paths(masks_of(student, order, hidden, 2, C))[:, :D]
            wrong = (found & ~before_of(order).repeat_interleave(2, dim=0)).sum()
            assert wrong == 0, f"in a network of few units, {wrong} times an output sees what does not come before"


@MASKS("Degrees go from 1 (with a context from 0) to D - 1, spread evenly; no weight that the rule allows is left out.")
def test_masks_degrees(student, rng):
    for order, hidden, parameters, C in mask_cases(rng):
        D, lowest = len(order), 0 if C else 1
        *inside, last = masks_of(student, order, hidden, parameters, C)
        below = torch.cat([places_of(order) + 1, torch.zeros(C, dtype=torch.int64)])
        for n, mask in enumerate(inside):
            if n == 0:
                assert mask[:, D:].all(), "a unit of the first layer does not see all of the context"
                degrees = mask[:, :D].sum(dim=1)
            else:
                assert mask.any(dim=1).all(), "a unit of a later layer sees no unit at all"
                degrees = torch.where(mask, below, -1).amax(dim=1)
            lacking = (mask != (degrees[:, None] >= below)).sum()
            assert lacking == 0, f"layer {n} has {lacking} weights too few or too many for the degrees of its units"
            low, high = int(degrees.min()), int(degrees.max())
            right = low >= lowest and high <= max(D - 1, lowest)
            assert right, f"the degrees of the {len(degrees)} units of layer {n} are {low} to {high} for D = {D}"
            counts = torch.bincount(degrees - lowest, minlength=max(D - lowest, 1))
            spread = int(counts.max() - counts.min())
            assert spread <= 1, f"in layer {n}, some degree has {spread} units more than another one"
            below = degrees
        outputs = (places_of(order) + 1).repeat_interleave(parameters)
        lacking = (last != (outputs[:, None] > below)).sum()
        assert lacking == 0, f"the last layer has {lacking} weights too few or too many"


@MASKS("Layers of fewer units than degrees follow the same rule, and their units have different degrees.")
def test_masks_spread_over_few_units(student, rng):
    for D, C, hidden in ((6, 0, [3]), (9, 0, [8]), (5, 2, [2]), (6, 1, [3, 8]), (7, 2, [4, 3]), (6, 0, [7, 2])):
        order, lowest = some_order(D, rng), 0 if C else 1
        masks, places = masks_of(student, order, hidden, 2, C), places_of(order) + 1
        # the inputs tell the degrees of the first layer, the outputs those of the last one
        degrees = [masks[0][:, :D].sum(dim=1), D - masks[-1].sum(dim=0) // 2][: len(hidden)]
        for found in degrees:
            low, high = int(found.min()), int(found.max())
            assert lowest <= low <= high < D, f"the degrees of a layer of few units are {low} to {high} for D = {D}"
            counts = torch.bincount(found - lowest, minlength=D - lowest)
            assert counts.max() - counts.min() <= 1, "units share a degree, while another degree has no unit"
        levels = [torch.cat([places, torch.zeros(C, dtype=torch.int64)]), *degrees]
        right = [above[:, None] >= below for below, above in pairwise(levels)]
        right.append(places.repeat_interleave(2)[:, None] > levels[-1])
        same = all(torch.equal(mask, wanted) for mask, wanted in zip(masks, right))
        assert same, f"with layers of {hidden} units for D = {D}, a weight is missing or should not be there"


@MASKS("Without hidden layers the outputs see inputs directly; of one coordinate they see nothing but context.")
def test_masks_of_small_networks(student, rng):
    for D, C, parameters in ((1, 0, 2), (4, 0, 1), (3, 2, 2), (1, 3, 1), (5, 1, 3)):
        order = some_order(D, rng)
        (found,) = masks_of(student, order, [], parameters, C)
        direct = torch.cat([before_of(order), torch.ones(D, C, dtype=torch.bool)], dim=1)
        assert torch.equal(found, direct.repeat_interleave(parameters, dim=0)), "a mask without hidden layers is wrong"
    for hidden in ([1], [4], [3, 2]):
        assert not paths(masks_of(student, [0], hidden, 2)).any(), "an output sees the only coordinate"


@MASKS("An order holds each of 0 to D - 1 exactly once; anything else raises a ValueError.")
def test_masks_refuse(student, rng):
    bench = bench_of(student)
    good = some_order(5, rng)
    masks_of(student, good, [5])
    double, cases = list(good), {"an order that counts from 1": [k + 1 for k in good]}
    double[good.index(3)] = 1
    triple = [{0: 1, 2: 1}.get(i, i) for i in good]  # its sum is that of an order
    cases |= {"an order in which a coordinate comes twice": double, "one in which a coordinate comes thrice": triple}
    cases |= {"an order of two with a coordinate -1": [-1, 0]}
    cases |= {"the order of a single coordinate 1": [1], "an order with a coordinate far too large": [*good, 99]}
    for words, bad in cases.items():
        assert bench.refuses("made_masks", bad, [4], returns=boolean()), f"no ValueError was raised for {words}"


@MASKS("Lists that are handed in stay as they are; no seed and no default dtype is set.")
def test_masks_care(student, rng):
    for order, hidden, parameters, C in ((some_order(4, rng), [5, 6], 2, 1), (some_order(3, rng), [], 1, 0)):
        assert_left_alone(student, ("made_masks", order, hidden, parameters, C))
        seeded = bench_of(student).sets_seed("made_masks", order, hidden, parameters, C, returns=boolean())
        assert not seeded, "a seed is set: all random numbers after it are the same in every run"


# ----------------------------------------------------------------------------------- 2: a layer of MAF


@dataclass
class World:
    """A conditioner of one hidden layer: its numbers, masks and order, and what a layer of MAF should give."""

    parts: dict[str, torch.Tensor]
    masks: list[torch.Tensor]
    order: list[int]
    context: int

    def net(self, x, context=None):
        inner, outer, _ = self.masks
        h = x @ (self.parts["inner"] * inner).T + self.parts["bias"]
        if context is not None:
            h = h + context @ self.parts["looking"].T
        return (torch.tanh(h) @ (self.parts["outer"] * outer).T + self.parts["shift"]).chunk(2, dim=-1)

    def law(self, method, points, context=None):
        if method == "forward":
            mu, raw = self.net(points, context)
            return (points - mu) * (-raw / 2).exp(), -raw.sum(dim=-1) / 2
        known = [torch.zeros_like(points[..., 0])] * len(self.order)
        total = torch.zeros_like(points[..., 0])
        for i in self.order:
            mu, raw = self.net(torch.stack(known, dim=-1), context)
            known[i] = mu[..., i] + (raw[..., i] / 2).exp() * points[..., i]
            total = total + raw[..., i] / 2
        return torch.stack(known, dim=-1), total

    def at(self, batch, rng, dtype=F64):
        """Points and a context for them, or None."""
        x = randn(*batch, len(self.order), rng=rng, dtype=dtype)
        return x, randn(*batch, self.context, rng=rng, dtype=dtype) if self.context else None


def some_world(D, C, rng, dtype=F64, H=9):
    order = some_order(D, rng)
    places = places_of(order) + 1
    degrees = torch.arange(H) % max(D, 1)
    masks = [degrees[:, None] >= places, (places[:, None] > degrees).repeat(2, 1), before_of(order)]
    parts = {"inner": 0.8 * randn(H, D, rng=rng), "bias": 0.5 * randn(H, rng=rng)}
    parts.update(outer=0.6 * randn(2 * D, H, rng=rng), shift=0.5 * randn(2 * D, rng=rng))
    if C:
        parts["looking"] = randn(H, C, rng=rng)
    return World({k: v.to(dtype) for k, v in parts.items()}, [m.to(dtype) for m in masks], order, C)


def net_of(student, world, wild=False):
    return bench_of(student).net(world.parts, world.masks, world.order, wild, returns=handle())


def layer_of(student, world, wild=False):
    return student.MAFLayer(net_of(student, world, wild), returns=handle())


def ask(target, method, x, context, **kwargs):
    """Call a direction of a layer or flow, without a context where there is none."""
    args = [x] if context is None else [x, context]
    return getattr(target, method)(*args, **{"returns": pair(x), **kwargs})


def assert_world_gradients(student, layer, world, x, context, methods=("forward", "inverse")):
    """Require the gradients of both values of both directions for points, context and parameters."""
    args = [x] if context is None else [x, context]
    for method in methods:
        for output in (0, 1):
            leaves = [value.clone().requires_grad_() for value in args]
            values = {name: value.clone().requires_grad_() for name, value in world.parts.items()}
            moved = World(values, world.masks, world.order, world.context)
            total = moved.law(method, *leaves)[output].sum()
            right = torch.autograd.grad(total, [*values.values(), *leaves], allow_unused=True)
            where = f"through {('the points', 'the log-determinants')[output]} of {method}"
            found = student.gradients(layer, method, *args, output=output)
            assert_gradients_agree(found, [f"net.{name}" for name in values], right, where)
            for n, expected in enumerate(right[len(values) :]):
                if expected is not None and expected.abs().max() > 0:
                    spec = tensor(*args[n].shape)
                    at = student.input_gradient(layer.bound(method), *args, wrt=n, output=output, returns=spec)
                    what = f"the gradient of {('the points', 'the context')[n]} {where}"
                    assert_close(at, expected, 1e-8, relative=1e-8, what=what)


@MAF("z = (x - mu) / deviation, where lambda is the logarithm of the variance; the log-determinant is of each point.")
def test_maf_forward(student, rng):
    for D, C in ((3, 0), (4, 2), (2, 0), (5, 1), (1, 3)):
        world = some_world(D, C, rng)
        layer = layer_of(student, world)
        for batch in BATCHES:
            x, context = world.at(batch, rng)
            assert_pair(ask(layer, "forward", x, context), world.law("forward", x, context), 1e-8)
    x = randn(5, 4, rng=rng)
    world = some_world(4, 0, rng)
    layer = layer_of(student, world)
    for method in (layer.forward, layer.inverse):
        expected = finite_difference_log_det(lambda at, call=method: call(at, returns=pair(at))[0], x, rng)
        found = shuffled(lambda at, call=method: call(at, returns=pair(at))[1], x, rng)
        assert_close(found, expected, 1e-5, what="a log-determinant, by differences,")


@MAF("inverse finds coordinate after coordinate, in the order of the network, and undoes forward.", hint_link=SLOW)
def test_maf_inverse(student, rng):
    for D, C in ((3, 0), (4, 2), (6, 0), (5, 1), (2, 0), (1, 2), (1, 0)):
        for batch in BATCHES:
            world = some_world(D, C, rng)
            layer, (z, context) = layer_of(student, world), world.at(batch, rng)
            found = ask(layer, "inverse", z, context)
            assert_pair(found, world.law("inverse", z, context), 1e-8, " after inverse")
            back = ask(layer, "forward", found[0], context)
            assert_close(back[0], z, 1e-7, relative=1e-7, what="forward(inverse(z))")


@MAF("forward calls the network once, inverse at most D times.", hint_link=SLOW)
def test_maf_calls(student, rng):
    for D in (1, 3, 6):
        world = some_world(D, 0, rng)
        net = net_of(student, world)
        layer, (x, _) = student.MAFLayer(net, returns=handle()), world.at((4,), rng)
        for method, most in (("forward", 1), ("inverse", D), ("forward", 1), ("inverse", D)):
            before = net.count(returns=integer())
            ask(layer, method, x, None)
            made = net.count(returns=integer()) - before
            assert made <= most, f"{method} called the network {made} times for points of {D} numbers"


@MAF("inverse needs no forward, remembers nothing, and counts with the present parameters in either mode.")
def test_maf_remembers_nothing(student, rng):
    for C in (0, 2):
        world = some_world(4, C, rng)
        layer = layer_of(student, world)
        for training in (True, False):
            layer.train(training, returns=handle())
            for _ in range(2):
                world.parts = {name: part + 0.3 * randn(*part.shape, rng=rng) for name, part in world.parts.items()}
                student.set_parameters(layer, {f"net.{name}": part for name, part in world.parts.items()})
                here, other = world.at((3,), rng), world.at((3,), rng)
                ask(layer, "forward", *other)
                assert_pair(ask(layer, "inverse", *here), world.law("inverse", *here), 1e-8)
                assert_pair(ask(layer, "forward", *other), world.law("forward", *other), 1e-8)


@MAF("Gradients reach the points, the context and the network, through both values of both directions.")
def test_maf_gradients(student, rng):
    for D, C, batch in ((4, 2, (3,)), (3, 0, (2, 2)), (5, 1, ())):
        world = some_world(D, C, rng)
        layer, (x, context) = layer_of(student, world), world.at(batch, rng)
        layer.train(C != 2, returns=handle())  # in either mode
        names = sorted(student.parameters(layer))
        assert names == sorted(f"net.{name}" for name in world.parts), "the parameters are not those of the network"
        assert_world_gradients(student, layer, world, x, context)


@MAF("What the network says of coordinates whose turn has not come may be huge; neither x nor gradients suffer.")
def test_maf_wild(student, rng):
    for D, C, dtype, tolerance in ((4, 0, F64, 1e-8), (5, 2, F64, 1e-8), (3, 1, F32, 1e-3)):
        world = some_world(D, C, rng, dtype)
        layer, (z, context) = layer_of(student, world, wild=True), world.at((3,), rng, dtype)
        found = ask(layer, "inverse", z, context)
        assert_pair(found, world.law("inverse", z, context), tolerance, " where the network returns huge numbers")
        if dtype == F64:
            assert_world_gradients(student, layer, world, z, context, ["inverse"])


@MAF("Deviations may be ever so small or large: nothing is added to them, and nothing is cut off.")
def test_maf_sizes(student, rng):
    for size in (-300.0, -25.0, 25.0, 300.0):
        world = some_world(3, 1, rng)
        world.parts["shift"][3:] += size + randn(3, rng=rng)
        layer, (x, context) = layer_of(student, world), world.at((3,), rng)
        for method in ("forward", "inverse"):
            found, expected = ask(layer, method, x, context), world.law(method, x, context)
            unit = expected[0].abs().amax()
            assert_close(
                found[0] / unit, expected[0] / unit, 1e-8, what=f"a coordinate of {method}, in units of the largest,"
            )
            assert_close(found[1], expected[1], 1e-8, relative=1e-8, what=f"the log-determinant of {method}")


@MAF("The log-determinants do not go through the deviation: they are right where it is 0 or infinite in a float.")
def test_maf_extremes(student, rng):
    for dtype, size in ((F64, 3000.0), (F32, 500.0)):
        for D, method, signs in ((3, "forward", (-1, 1)), (3, "inverse", (-1,)), (1, "inverse", (-1, 1))):
            for sign in signs:
                world = some_world(D, 0, rng, dtype)
                world.parts["shift"][D:] += sign * size
                layer, (x, _) = layer_of(student, world), world.at((4,), rng, dtype)
                spec = (tensor(4, D, dtype=dtype, finite=False), tensor(4, dtype=dtype))
                found, expected = ask(layer, method, x, None, returns=spec)[1], world.law(method, x)[1]
                assert_close(found, expected, 0.0, relative=1e-5, what=f"the log-determinant of {method}")


@MAF("float32 in, float32 out; what is handed in stays as it is, and nothing is drawn at random.")
def test_maf_dtype_and_care(student, rng):
    for C in (0, 2):
        world = some_world(4, C, rng, F32)
        layer, (x, context) = layer_of(student, world), world.at((5,), rng, F32)
        for method in ("forward", "inverse"):
            assert_pair(ask(layer, method, x, context), world.law(method, x, context), 1e-3)
        args = [x] if context is None else [x, context]
        calls = [(layer.bound(method), *args) for method in ("forward", "inverse")]
        made = ("MAFLayer", net_of(student, world))
        assert_left_alone(student, made, *calls)
        assert_draws_nothing(student, made, *calls)


# ------------------------------------------------------------------------ 3: a stack of MAF layers turned round


@dataclass
class Stack:
    """Layers that bend triangular maps, and what the flow that turns them round should give."""

    layers: list[dict[str, torch.Tensor]]
    bends: list[float]
    features: int
    context: int

    def values(self):
        return {f"layers.{n}.{k}": v for n, layer in enumerate(self.layers) for k, v in layer.items()}

    def leaves(self):
        """The same stack with parameters that want gradients."""
        layers = [{k: v.clone().requires_grad_() for k, v in layer.items()} for layer in self.layers]
        return Stack(layers, self.bends, self.features, self.context)

    def law(self, method, x, context=None):
        total, stack = torch.zeros_like(x[..., 0]), list(zip(self.layers, self.bends))
        for parts, bend in stack if method == "inverse" else reversed(stack):
            offset = parts["shift"] + (0 if context is None else context @ parts["looking"].T)
            if method == "inverse":
                v = x @ parts["matrix"].T + offset
                x = v + bend * (v * v + 1).sqrt()
            else:
                rest = 1 - bend * bend
                v = (x - bend * (x * x + rest).sqrt()) / rest
                x = (v - offset) @ torch.linalg.inv(parts["matrix"]).T
            log_det = torch.linalg.slogdet(parts["matrix"]).logabsdet
            log_det = log_det + torch.log(1 + bend * v / (v * v + 1).sqrt()).sum(dim=-1)
            total = total + log_det if method == "inverse" else total - log_det
        return x, total

    def log_prob(self, x, context=None):
        u, log_det = self.law("forward", x, context)
        return normal_log_density(u) + log_det

    def at(self, batch, rng, dtype=F64):
        x = randn(*batch, self.features, rng=rng, dtype=dtype)
        return x, randn(*batch, self.context, rng=rng, dtype=dtype) if self.context else None


def some_stack(K, D, C, rng, dtype=F64):
    layers, bends = [], uniform(K, rng=rng, low=-0.6, high=0.6).tolist()
    for _ in range(K):
        matrix = 0.6 * randn(D, D, rng=rng) * before_of(some_order(D, rng))
        matrix = matrix + uniform(D, rng=rng, low=0.5, high=1.6).diag()
        parts = {"looking": randn(D, C, rng=rng)} if C else {}
        parts.update(shift=0.7 * randn(D, rng=rng), matrix=matrix)
        layers.append({k: v.to(dtype) for k, v in parts.items()})
    return Stack(layers, bends, D, C)


def layers_of(student, stack):
    bench = bench_of(student)
    return [bench.layer(parts, bend, returns=handle()) for parts, bend in zip(stack.layers, stack.bends)]


def flow_of(student, stack):
    return student.IAF(layers_of(student, stack), stack.features, returns=handle())


def drawn(flow, stack, n, context=None, dtype=F64, **kwargs):
    batch = () if context is None else context.shape[:-1]
    spec = (tensor(n, *batch, stack.features, dtype=dtype), tensor(n, *batch, dtype=dtype))
    return flow.rsample_and_log_prob(*([n] if context is None else [n, context]), returns=spec, **kwargs)


def widened(context, n):
    return None if context is None else context.expand(n, *context.shape)


STACKS = ((2, 3, 0), (1, 2, 2), (3, 4, 1), (2, 1, 0), (2, 2, 3))


@TURNED("Noise goes through the fast direction of layers 0, 1, ...; forward undoes that; each has its log-determinant.")
def test_iaf_maps(student, rng):
    for (K, D, C), batch in product(STACKS, BATCHES):
        stack = some_stack(K, D, C, rng)
        flow, (x, context) = flow_of(student, stack), stack.at(batch, rng)
        for method in ("inverse", "forward"):
            assert_pair(ask(flow, method, x, context), stack.law(method, x, context), 1e-7, f" of {method}")


@TURNED("The density is that of the noise and of the map to it, with the right constant, for every point by itself.")
def test_iaf_log_prob(student, rng):
    for (K, D, C), batch in product(STACKS, BATCHES):
        stack = some_stack(K, D, C, rng)
        flow, (x, context) = flow_of(student, stack), stack.at(batch, rng)
        args, spec = ([x] if context is None else [x, context]), tensor(*batch)
        found = flow.log_prob(*args, returns=spec)
        assert_close(found, stack.log_prob(x, context), 1e-6, relative=1e-6, what="a log-density")


@TURNED("log_prob and forward call the slow direction of each layer once; samples and inverse only the fast one, once.")
def test_iaf_calls(student, rng):
    for K, D, C in STACKS[:3]:
        stack = some_stack(K, D, C, rng)
        layers = layers_of(student, stack)
        flow, (x, context) = student.IAF(layers, D, returns=handle()), stack.at((3,), rng)
        args = [x] if context is None else [x, context]
        calls = (
            ("log_prob", partial(flow.log_prob, *args, returns=tensor(3)), "inverse", "forward"),
            ("forward", partial(flow.forward, *args, returns=pair(x)), "inverse", "forward"),
            ("inverse", partial(flow.inverse, *args, returns=pair(x)), "forward", "inverse"),
            ("rsample_and_log_prob", partial(drawn, flow, stack, 4, context), "forward", "inverse"),
        )
        for name, call, wanted, other in calls:
            for layer in layers:
                layer.forget(returns=boolean())
            call()
            for layer in layers:
                good = layer.count(wanted, returns=integer()) == 1 and layer.count(other, returns=integer()) == 0
                direction = "fast" if wanted == "forward" else "slow"
                assert good, f"{name} does not call the {direction} direction of every layer once, and nothing else"


@TURNED("Samples come with the log-densities that log_prob gives for them; with a context, n for each of its rows.")
def test_iaf_sampled_density(student, rng):
    for K, D, C in STACKS:
        for batch in BATCHES if C else ((),):
            stack = some_stack(K, D, C, rng)
            flow, context = flow_of(student, stack), stack.at(batch, rng)[1]
            for n in (1, 6):
                x, log_prob = drawn(flow, stack, n, context)
                right = stack.log_prob(x, widened(context, n))
                assert_close(log_prob, right, 1e-6, relative=1e-6, what="the log-density of a sample")
                u = stack.law("forward", x, widened(context, n))[0].reshape(-1, D)
                own = len(u.round(decimals=8).unique(dim=0))
                assert own == len(u), f"{len(u)} points are made of only {own} different noises"


@TURNED("The noise of the samples is standard normal, and every point has its own.")
def test_iaf_samples(student, rng):
    for K, D, C in STACKS[1:4]:
        stack = some_stack(K, D, C, rng)
        flow, context = flow_of(student, stack), stack.at((2,), rng)[1]
        n = 2500 if C else 5000
        x, _ = drawn(flow, stack, n, context)
        u = stack.law("forward", x, widened(context, n))[0]
        same_distribution(u.reshape(-1, D), randn(5000, D, rng=rng), rng, what="the noises of the samples")
        digits = (u - u.float().double()).abs() > 1e-11
        assert digits.double().mean() > 0.5, "the noise of float64 samples has no more digits than float32"
        pairs = [u.reshape(-1, 2 * D), torch.cat(u.reshape(-1, D).chunk(2), dim=1)]
        for pair_of in pairs:  # the noises of two samples, or of two rows of the context, side by side
            same_distribution(pair_of, randn(2500, 2 * D, rng=rng), rng, what="the noises of pairs of samples")


@TURNED("Every call draws anew, and no noise depends on the other samples of its call.")
def test_iaf_draws(student, rng):
    stack = some_stack(2, 3, 0, rng)
    flow = flow_of(student, stack)
    first, second = bench_of(student).twice(
        flow.bound("rsample_and_log_prob"), 50, returns=((tensor(50, 3), tensor(50)), (tensor(50, 3), tensor(50)))
    )
    assert (first[0] != second[0]).any(dim=1).all(), "two calls return the same samples"
    x = bench_of(student).many(600, flow, 2, returns=tensor(600, 2, 3))
    u = stack.law("forward", x)[0].reshape(600, 6)
    same_distribution(u, randn(600, 6, rng=rng), rng, what="the noises of many calls for two samples")


@TURNED("The samples follow torch's random numbers: the same ones after the same seed, others after another one.")
def test_iaf_seeds(student, rng):
    stack = some_stack(2, 3, 0, rng)
    first, again, other = (drawn(flow_of(student, stack), stack, 50, seed=seed)[0] for seed in (1, 1, 2))
    assert_close(again, first, 1e-12, what="a sample after the same seed")
    assert (first != other).any(dim=1).all(), "samples after different seeds are the same"
    flow = flow_of(student, stack)
    idle = bench_of(student).draws_nothing(flow.bound("rsample_and_log_prob"), 3, returns=boolean())
    assert not idle, "the samples are not made of torch's random numbers"


def assert_sample_gradients(student, rng, output):
    """Require the gradients of the samples, or of their log-densities, for all parameters and for the context."""
    for K, D, C in STACKS[:3]:
        stack = some_stack(K, D, C, rng)
        flow, context = flow_of(student, stack), stack.at((2,), rng)[1]
        flow.train(C == 2, returns=handle())  # in either mode
        n, args = 4, [4] if context is None else [4, context]
        seed = int(torch.randint(1, 10_000, (1,), generator=rng))
        u = stack.law("forward", drawn(flow, stack, n, context, seed=seed)[0], widened(context, n))[0].detach()
        moved, leaf = stack.leaves(), None if context is None else context.clone().requires_grad_()
        x, log_det = moved.law("inverse", u, widened(leaf, n))
        leaves = [*moved.values().values(), *([] if leaf is None else [leaf])]
        right = torch.autograd.grad((x, -log_det)[output].sum(), leaves, allow_unused=True)
        where = f"through {('the samples', 'their log-densities')[output]}"
        found = student.gradients(flow, "rsample_and_log_prob", *args, output=output, seed=seed)
        assert_gradients_agree(found, moved.values(), right, where, 1e-7)
        if leaf is not None:
            target, spec = flow.bound("rsample_and_log_prob"), tensor(*context.shape)
            at = student.input_gradient(target, *args, wrt=1, output=output, returns=spec, seed=seed)
            assert_close(at, right[-1], 1e-7, relative=1e-7, what=f"the gradient of the context {where}")


@TURNED("Gradients go through the samples: to the parameters of all layers and to the context.", hint_link=KL)
def test_iaf_sample_gradients(student, rng):
    assert_sample_gradients(student, rng, 0)


@TURNED("Gradients of the log-densities of samples reach the parameters of all layers and the context.")
def test_iaf_sampled_density_gradients(student, rng):
    assert_sample_gradients(student, rng, 1)


@TURNED("The parameters are those of the layers; gradients reach them and the points through every direction.")
def test_iaf_gradients(student, rng):
    for K, D, C in STACKS[:3]:
        stack = some_stack(K, D, C, rng)
        flow, (x, context) = flow_of(student, stack), stack.at((3,), rng)
        flow.train(C == 2, returns=handle())  # in either mode
        assert sorted(student.parameters(flow)) == sorted(stack.values()), "the parameters are not those of the layers"
        args = [x] if context is None else [x, context]
        for method, output in (("forward", 0), ("forward", 1), ("inverse", 0), ("inverse", 1), ("log_prob", None)):
            moved, leaves = stack.leaves(), [value.clone().requires_grad_() for value in args]
            result = moved.log_prob(*leaves) if output is None else moved.law(method, *leaves)[output]
            right = torch.autograd.grad(result.sum(), [*moved.values().values(), *leaves], allow_unused=True)
            where = f"through {method}"
            found = student.gradients(flow, method, *args, output=output)
            assert_gradients_agree(found, moved.values(), right, where, 1e-7)
            for n, expected in enumerate(right[-len(args) :]):
                if expected is not None and expected.abs().max() > 0:
                    spec = tensor(*args[n].shape)
                    at = student.input_gradient(flow.bound(method), *args, wrt=n, output=output, returns=spec)
                    assert_close(at, expected, 1e-7, relative=1e-7, what=f"the gradient of an argument {where}")


@TURNED("Nothing is remembered from an earlier call: the present parameters count, in either mode.")
def test_iaf_remembers_nothing(student, rng):
    stack = some_stack(2, 3, 1, rng)
    flow = flow_of(student, stack)
    for training in (False, True):
        flow.train(training, returns=handle())
        for _ in range(2):
            for layer in stack.layers:
                layer["shift"] = randn(3, rng=rng)
            student.set_parameters(flow, stack.values())
            (x, context), (_, other) = stack.at((4,), rng), stack.at((), rng)
            sampled, log_prob = drawn(flow, stack, 4, other)
            expected = stack.log_prob(sampled, widened(other, 4))
            assert_close(log_prob, expected, 1e-6, relative=1e-6, what="the log-density of a sample")
            found = flow.log_prob(x, context, returns=tensor(4))
            assert_close(found, stack.log_prob(x, context), 1e-6, relative=1e-6, what="a log-density after sampling")
            assert_pair(ask(flow, "inverse", x, context), stack.law("inverse", x, context), 1e-7)


@TURNED("float32 in, float32 out, samples in the dtype of the parameters; what is handed in stays as it is.")
def test_iaf_dtype_and_care(student, rng):
    for K, D, C in STACKS[:2]:
        stack = some_stack(K, D, C, rng, F32)
        flow, (x, context) = flow_of(student, stack), stack.at((4,), rng, F32)
        args = [x] if context is None else [x, context]
        for method in ("forward", "inverse"):
            assert_pair(ask(flow, method, x, context), stack.law(method, x, context), 1e-3)
        found = flow.log_prob(*args, returns=tensor(4, dtype=F32))
        assert_close(found, stack.log_prob(x, context), 1e-3, relative=1e-3, what="a log-density in float32")
        sampled, log_prob = drawn(flow, stack, 5, context, F32)
        right = stack.log_prob(sampled, widened(context, 5))
        assert_close(log_prob, right, 1e-2, relative=1e-2, what="the log-density of a sample in float32")
        calls = [(flow.bound(method), *args) for method in ("forward", "inverse", "log_prob")]
        sample = (flow.bound("rsample_and_log_prob"), *([3] if context is None else [3, context]))
        made = ("IAF", layers_of(student, stack), D)
        assert_left_alone(student, made, *calls, sample)
        assert_draws_nothing(student, made, *calls)


# ------------------------------------------------------------------------------- 4: reverse KL and log Z


@dataclass
class Problem:
    """A q with known draws and a target, and the log-weights of the draws."""

    q: dict[str, torch.Tensor]
    target: dict[str, torch.Tensor]
    noise: torch.Tensor
    bend: float
    height: float
    cut: float | None = None

    def log_w(self, q=None):
        q = q or self.q
        v = q["mean"] + self.noise * q["log_scale"].exp()
        slope = torch.log(1 + self.bend * v / (v * v + 1).sqrt())
        log_q = (-0.5 * self.noise.square() - 0.5 * math.log(2 * math.pi) - q["log_scale"] - slope).sum(dim=-1)
        x = v + self.bend * (v * v + 1).sqrt()
        log_p = self.height - (x @ self.target["form"].T + x.sin()).square().sum(dim=-1)
        if self.cut is not None:
            log_p = torch.where(x[:, 0] > self.cut, log_p, -math.inf)
        return log_p - log_q

    def x(self):
        v = self.q["mean"] + self.noise * self.q["log_scale"].exp()
        return v + self.bend * (v * v + 1).sqrt()


def some_problem(n, D, rng, dtype=F64, height=0.0, spread=0.5):
    q = {"mean": randn(D, rng=rng, dtype=dtype), "log_scale": 0.3 * randn(D, rng=rng, dtype=dtype)}
    target = {"form": spread * randn(D, D, rng=rng, dtype=dtype)}
    bend = float(uniform(1, rng=rng, low=-0.5, high=0.5))
    return Problem(q, target, randn(n, D, rng=rng, dtype=dtype), bend, height)


def posed(student, problem):
    """The q and the target of a problem, new and with no call behind them."""
    bench = bench_of(student)
    q = bench.posterior(problem.q, problem.noise, problem.bend, returns=handle())
    return q, bench.target(problem.target, problem.height, problem.cut, returns=handle())


def bound_of(log_w, n, k):
    return (log_w.reshape(n, k).logsumexp(dim=1) - math.log(k)).mean()


def right_numbers(log_w):
    n, largest = len(log_w), log_w.max()
    w = (log_w - largest).exp()
    return largest + w.mean().log(), w.std() / w.mean() / math.sqrt(n), w.sum().square() / w.square().sum()


def estimated(student, problem, chunk):
    q, target = posed(student, problem)
    specs = (scalar(), scalar(), scalar())
    return student.estimate_log_z(q, target, len(problem.noise), chunk, returns=specs)


def assert_numbers(found, log_w, tolerance):
    names = ("the estimate of log Z", "its standard error", "the effective sample size")
    for value, right, what in zip(found, right_numbers(log_w), names):
        assert_close(value, float(right), tolerance, relative=tolerance, what=what)


def assert_problem_gradients(student, problem, function, args, right, words):
    """Require the gradients of a function's result for the parameters of q."""
    q = {name: value.clone().requires_grad_() for name, value in problem.q.items()}
    wanted = torch.autograd.grad(right(problem.log_w(q)), list(q.values()))
    there, goal = posed(student, problem)
    found = student.gradients(there, "call", function, goal, *args)
    assert_gradients_agree(found, q, wanted, f"through {words}, of q")


@REVERSE("The reverse KL is the mean of log q - log target over the samples of one call.")
def test_reverse_kl(student, rng):
    for n, D, height in ((7, 2, 0.0), (1, 3, 2.5), (40, 1, -3.0), (12, 4, 0.7)):
        problem = some_problem(n, D, rng, height=height)
        q, target = posed(student, problem)
        found = student.reverse_kl(q, target, n, returns=tensor())
        assert_close(found, -problem.log_w().mean(), 1e-8, relative=1e-8, what="the reverse KL")


@REVERSE("reverse_kl and importance_bound ask q once for all samples, and the target once for all points.")
def test_reverse_kl_calls(student, rng):
    problem = some_problem(12, 2, rng)
    for name, args in (("reverse_kl", (12,)), ("importance_bound", (4, 3)), ("importance_bound", (12, 1))):
        q, target = posed(student, problem)
        getattr(student, name)(q, target, *args, returns=tensor())
        for who, asked in (("q", q), ("log_target", target)):
            made = asked.count(returns=integer())
            assert made == 1, f"{name} called {who} {made} times"
            sizes = asked.sizes(returns=tensor(1, dtype=torch.int64))
            assert int(sizes) == 12, f"{name} asked {who} for {int(sizes)} points, where it should ask for 12"


@REVERSE("The gradient of the reverse KL goes through the samples and through log q.")
def test_reverse_kl_gradients(student, rng):
    for n, D in ((6, 3), (1, 2), (15, 1)):
        problem = some_problem(n, D, rng)
        assert_problem_gradients(student, problem, "reverse_kl", [n], lambda log_w: -log_w.mean(), "the reverse KL")


@REVERSE("The bound is the mean over groups of the logarithm of the mean weight; the first k samples are a group.")
def test_importance_bound(student, rng):
    for n, k, D in ((5, 4, 2), (1, 7, 3), (9, 1, 1), (1, 1, 2), (3, 12, 2)):
        problem = some_problem(n * k, D, rng, height=1.3)
        q, target = posed(student, problem)
        found = student.importance_bound(q, target, n, k, returns=tensor())
        assert_close(found, bound_of(problem.log_w(), n, k), 1e-8, relative=1e-8, what="the bound")


@REVERSE("The gradient of the bound goes through the samples and through log q, also where weights would overflow.")
def test_importance_bound_gradients(student, rng):
    for n, k, D, height in ((4, 3, 3, 0.0), (1, 5, 2, -2000.0), (6, 1, 2, 0.0), (3, 4, 1, 1e5)):
        problem = some_problem(n * k, D, rng, height=height)
        right = partial(bound_of, n=n, k=k)
        assert_problem_gradients(student, problem, "importance_bound", [n, k], right, "the bound")


@REVERSE("log Z is the logarithm of the mean weight; its error and the effective sample size are those of the weights.")
def test_log_z(student, rng):
    for n, D, chunk in ((30, 2, 30), (2, 1, 2), (17, 3, 100), (200, 2, 200)):
        problem = some_problem(n, D, rng, height=float(randn(1, rng=rng)))
        assert_numbers(estimated(student, problem, chunk), problem.log_w(), 1e-7)


@REVERSE("Samples come in chunks of the given size, the last one with what is left, and chunks do not show.")
def test_log_z_chunks(student, rng):
    for n, chunk in ((23, 5), (20, 5), (7, 1), (9, 8), (50, 49), (6, 100)):
        problem = some_problem(n, 2, rng, spread=1.5)
        q, target = posed(student, problem)
        found = student.estimate_log_z(q, target, n, chunk, returns=(scalar(), scalar(), scalar()))
        assert_numbers(found, problem.log_w(), 1e-7)
        wanted = [min(chunk, n - start) for start in range(0, n, chunk)]
        for who, asked in (("q", q), ("log_target", target)):
            made = asked.count(returns=integer())
            assert made == len(wanted), f"{made} calls of {who} were made for {n} samples in chunks of {chunk}"
            sizes = asked.sizes(returns=tensor(len(wanted), dtype=torch.int64)).tolist()
            assert sizes == wanted, f"the calls of {who} asked for {sizes}, where n is {n} and chunk is {chunk}"


@REVERSE("Weights that overflow or vanish change nothing but the height of log Z.")
def test_log_z_of_large_weights(student, rng):
    for height in (-1e5, -1500.0, 1500.0, 1e5):
        problem = some_problem(24, 2, rng, height=height)
        log_w = problem.log_w()
        assert_numbers(estimated(student, problem, 7), log_w, 1e-7)
        q, target = posed(student, problem)
        found = student.importance_bound(q, target, 6, 4, returns=tensor())
        assert_close(found, bound_of(log_w, 6, 4), 1e-7, what="the bound for large weights")
        q, target = posed(student, problem)
        found = student.reverse_kl(q, target, 24, returns=tensor())
        assert_close(found, -log_w.mean(), 1e-7, what="the reverse KL for large weights")
    for spread in (30.0, 150.0):  # logarithms of weights as far apart as a thousand, or 10^5
        problem = some_problem(24, 3, rng, spread=spread)
        assert_numbers(estimated(student, problem, 5), problem.log_w(), 1e-6)
        q, target = posed(student, problem)
        found = student.importance_bound(q, target, 3, 8, returns=tensor())
        assert_close(found, bound_of(problem.log_w(), 3, 8), 1e-6, relative=1e-6, what="the bound for unlike weights")


@REVERSE("Where the target is 0 the weight is 0: the sample still counts, and nothing becomes NaN.")
def test_log_z_with_zeros(student, rng):
    for n, k, chunk, height in ((6, 5, 4, 0.0), (4, 8, 1, -9e4), (3, 9, 10, 9e4)):
        problem = some_problem(n * k, 2, rng, height=height)
        # each group keeps at least its point farthest to the right
        problem.cut = float(problem.x()[:, 0].reshape(n, k).amax(dim=1).min()) - 1e-9
        log_w = problem.log_w()
        q, target = posed(student, problem)
        found = student.importance_bound(q, target, n, k, returns=tensor())
        assert_close(found, bound_of(log_w, n, k), 1e-7, relative=1e-7, what="the bound, where weights are 0,")
        assert_numbers(estimated(student, problem, chunk), log_w, 1e-7)
        order = problem.x()[:, 0].argsort()  # all zeros come first, in chunks of their own
        problem.noise = problem.noise[order]
        assert_numbers(estimated(student, problem, chunk), problem.log_w(), 1e-7)


@REVERSE("float32 works, the results of estimate_log_z carry no gradients, and what is handed in stays as it is.")
def test_reverse_kl_dtype_and_care(student, rng):
    problem = some_problem(24, 2, rng, F32)
    q, target = posed(student, problem)
    found = student.reverse_kl(q, target, 24, returns=tensor(dtype=F32))
    assert_close(found, -problem.log_w().mean(), 1e-3, relative=1e-3, what="the reverse KL in float32")
    q, target = posed(student, problem)
    found = student.importance_bound(q, target, 8, 3, returns=tensor(dtype=F32))
    assert_close(found, bound_of(problem.log_w(), 8, 3), 1e-3, relative=1e-3, what="the bound in float32")
    assert_numbers(estimated(student, problem, 5), problem.log_w(), 1e-3)
    q, target = posed(student, problem)
    carries = bench_of(student).carries_gradients("estimate_log_z", q, target, 24, 7, returns=boolean())
    assert not carries, "a result of estimate_log_z carries a gradient: the graphs of all chunks are kept"
    for name, args in (("reverse_kl", (24,)), ("importance_bound", (8, 3)), ("estimate_log_z", (24, 7))):
        assert_left_alone(student, (name, *posed(student, problem), *args))
        assert_draws_nothing(student, (name, *posed(student, problem), *args))


# ---------------------------------------------------------------------- 5: sampling by D passes and by one


@dataclass
class Network:
    """A MADE whose units are not sorted, and the samples that it makes of noise."""

    weights: list[torch.Tensor]
    biases: list[torch.Tensor]
    order: list[int]
    degrees: list[torch.Tensor]
    bend: float

    def net(self, x):
        *weights, last = [weight * (weight != 0) for weight in self.weights]  # masked weights get no gradient
        for weight, bias in zip(weights, self.biases):
            v = x @ weight.T + bias
            x = torch.tanh(v) + self.bend * torch.cos(v)
        return (x @ last.T + self.biases[-1]).chunk(2, dim=-1)

    def samples(self, z):
        known = [torch.zeros_like(z[..., 0])] * len(self.order)
        total = torch.zeros_like(z[..., 0])
        for i in self.order:
            mu, alpha = self.net(torch.stack(known, dim=-1))
            known[i] = mu[..., i] + z[..., i] * alpha[..., i].exp()
            total = total + alpha[..., i]
        return torch.stack(known, dim=-1), normal_log_density(z) - total

    def values(self):
        named = {f"weights.{n}": value for n, value in enumerate(self.weights)}
        return {**named, **{f"biases.{n}": value for n, value in enumerate(self.biases)}}


def some_network(D, hidden, rng, dtype=F64, lack=False):
    """With `lack`, only every other degree is there."""
    order = some_order(D, rng)
    places = places_of(order) + 1
    degrees = [torch.randint(0, D, (units,), generator=rng) for units in hidden]
    degrees = [part // 2 * 2 if lack else part for part in degrees]
    below, weights, biases = places, [], []
    for part in degrees:
        weight = randn(len(part), len(below), rng=rng) / math.sqrt(1 + len(below) / 3)
        weights.append((weight * (part[:, None] >= below)).to(dtype))
        biases.append(0.5 * randn(len(part), rng=rng, dtype=dtype))
        below = part
    size = 0.5 if hidden else 0.2  # without a tanh in between, exponentials of exponentials overflow soon
    weight = size * randn(2 * D, len(below), rng=rng) / math.sqrt(1 + len(below) / 3)
    weights.append((weight * (places.repeat(2)[:, None] > below)).to(dtype))
    biases.append(0.4 * randn(2 * D, rng=rng, dtype=dtype))
    return Network(weights, biases, order, degrees, float(uniform(1, rng=rng, low=0.3, high=0.8)))


def masked_of(student, network):
    args = (network.weights, network.biases, network.order, network.degrees, network.bend)
    return bench_of(student).masked(*args, returns=handle())


def sampled(student, name, net, z, **kwargs):
    return getattr(student, name)(net, z, returns=pair(z), **kwargs)


def assert_samples(found, expected, tolerance):
    assert_close(found[0], expected[0], tolerance, relative=tolerance, what="a coordinate of a sample")
    assert_close(found[1], expected[1], tolerance, relative=tolerance, what="the log-density of a sample")


NETWORKS = ((3, [8]), (4, [7, 9]), (2, []), (5, [12, 6, 10]), (1, [3]), (6, [1, 2]), (1, []))


@PASSES("By D passes: coordinate after coordinate, in the order, with the log-density of what comes out.")
def test_passes(student, rng):
    for D, hidden in NETWORKS:
        for batch in BATCHES:
            network, z = some_network(D, hidden, rng), randn(*batch, D, rng=rng)
            found = sampled(student, "sample_by_passes", masked_of(student, network), z)
            assert_samples(found, network.samples(z), 1e-8)


@PASSES("sample_by_passes calls the network exactly D times, and uses nothing else of it but its order.")
def test_passes_calls(student, rng):
    bench = bench_of(student)
    for D, hidden in NETWORKS[:5]:
        network, z = some_network(D, hidden, rng), randn(4, D, rng=rng)
        net = masked_of(student, network)
        found = sampled(student, "sample_by_passes", bench.plain(net, returns=handle()), z)
        assert_samples(found, network.samples(z), 1e-8)
        calls = net.calls(returns=integer())
        assert calls == D, f"the network was called {calls} times for points of {D} numbers"


@PASSES("Gradients of sample_by_passes reach the noise and the parameters of the network.")
def test_passes_gradients(student, rng):
    for D, hidden in ((4, [6, 7]), (3, []), (5, [9])):
        network, z = some_network(D, hidden, rng), randn(3, D, rng=rng)
        net = masked_of(student, network)
        net.train(D != 4, returns=handle())  # in either mode
        for output in (0, 1):
            leaves = {name: value.clone().requires_grad_() for name, value in network.values().items()}
            parts = [[leaves[f"{kind}.{n}"] for n in range(len(network.weights))] for kind in ("weights", "biases")]
            noise = z.clone().requires_grad_()
            moved = Network(*parts, network.order, network.degrees, network.bend)
            total = moved.samples(noise)[output].sum()
            right = torch.autograd.grad(total, [*leaves.values(), noise], allow_unused=True)
            where = f"through {('the samples', 'their log-densities')[output]}"
            found = student.gradients(net, "call", "sample_by_passes", z, output=output)
            assert_gradients_agree(found, leaves, right, where)
            spec = tensor(*z.shape)
            at = student.input_gradient("sample_by_passes", net, z, wrt=1, output=output, returns=spec)
            assert_close(at, right[-1], 1e-8, relative=1e-8, what=f"the gradient of the noise {where}")


@SAMPLING("At the price of one pass: the same samples and log-densities, whatever the degrees of the units.")
def test_incremental(student, rng):
    for D, hidden in NETWORKS:
        for batch, lack in zip(BATCHES, (False, True, False, True, True)):
            network, z = some_network(D, hidden, rng, lack=lack), randn(*batch, D, rng=rng)
            net = masked_of(student, network)
            assert_samples(sampled(student, "sample_incrementally", net, z), network.samples(z), 1e-8)
    for D, hidden in NETWORKS[:2]:  # the present parameters count
        network, z = some_network(D, hidden, rng), randn(3, D, rng=rng)
        net = masked_of(student, network)
        sampled(student, "sample_incrementally", net, z)
        network.weights = [1.5 * weight for weight in network.weights]
        network.biases = [bias - 0.2 for bias in network.biases]
        student.set_parameters(net, network.values())
        assert_samples(sampled(student, "sample_incrementally", net, z), network.samples(z), 1e-8)


@SAMPLING("alpha may be ever so small or large: nothing is cut off.", hint_link=FLOW)
def test_samples_of_any_size(student, rng):
    for (D, hidden), size in product(NETWORKS[:3], (-60.0, 60.0)):
        network, z = some_network(D, hidden, rng), randn(3, D, rng=rng)
        network.biases[-1][D + network.order[-1]] += size  # nothing depends on the last coordinate
        for name in ("sample_by_passes", "sample_incrementally"):
            assert_samples(sampled(student, name, masked_of(student, network), z), network.samples(z), 1e-8)


@SAMPLING("sample_incrementally never calls the network and computes every hidden unit once for each point.")
def test_incremental_units(student, rng):
    for (D, hidden), batch in zip(NETWORKS, ((5,), (2, 3), (4,), (7,), (3,), (), (2,))):
        network, z = some_network(D, hidden, rng), randn(*batch, D, rng=rng)
        net = masked_of(student, network)
        found = sampled(student, "sample_incrementally", net, z)
        assert_samples(found, network.samples(z), 1e-8)
        calls = net.calls(returns=integer())
        assert calls == 0, f"sample_incrementally called the network {calls} times"
        given, right = net.activated(returns=integer()), sum(hidden) * math.prod(batch)
        assert given <= right, f"the activation was given {given} numbers; {right} hidden units are to be computed"


@SAMPLING("For all D coordinates together, sample_incrementally multiplies no more than two passes do.")
def test_incremental_costs(student, rng):
    bench = bench_of(student)
    for D, hidden in ((24, [40, 30]), (20, [64]), (16, []), (12, [20, 20, 20])):
        network, z = some_network(D, hidden, rng), randn(128, D, rng=rng)
        net = masked_of(student, network)
        once = bench.multiplications(net, z, returns=integer())
        found = bench.multiplications("sample_incrementally", net, z, returns=integer())
        words = f"{found / once:.1f} times the multiplications of a pass are made for points of {D} numbers"
        assert found <= 2 * once, words


@SAMPLING("float32 in, float32 out; what is handed in stays as it is, and nothing is drawn at random.")
def test_sampling_dtype_and_care(student, rng):
    for D, hidden in ((4, [6, 7]), (3, [])):
        network, z = some_network(D, hidden, rng, F32), randn(5, D, rng=rng, dtype=F32)
        net = masked_of(student, network)
        for name in ("sample_by_passes", "sample_incrementally"):
            assert_samples(sampled(student, name, net, z), network.samples(z), 1e-3)
            assert_left_alone(student, (name, net, z))
            assert_draws_nothing(student, (name, net, z))
