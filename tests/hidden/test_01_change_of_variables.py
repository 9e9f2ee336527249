"""Hidden checks of chapter 1: affine density, logit, composition, log-determinant by autograd, bits per dimension."""

import math

import torch

from course_flows.grading.suite import (
    PropertyError,
    assert_close,
    boolean,
    finite_difference_jacobian,
    finite_difference_log_det,
    property_of,
    shuffled,
    tensor,
    total_mass,
)

CHAPTER = "ch-change-of-variables"

# Wide enough for an answer in float64 whose constants were rounded to float32; mistakes are off by far more.
TOLERANCE = 1e-5

# A base that is neither normal nor a product: z_i, shifted by a function of z_{i-1}, is logistic.
BASE = """
def base(z):
    before = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1]], dim=1)
    u = z - 0.8 * torch.sin(before) - 0.3
    return -(torch.nn.functional.softplus(u) + torch.nn.functional.softplus(-u)).sum(dim=1)
"""

# Generative steps that do not commute, with their inverses; log-determinants differ from point to point.
STEPS = """
def scales(h):
    values = torch.arange(1, h.shape[1] + 1, dtype=h.dtype)
    return (0.5 + 0.3 * values) * (1 - 2 * (values % 2))

def scale(h):
    return h * scales(h), scales(h).abs().log().sum().expand(len(h))

def scale_inverse(h):
    return h / scales(h), -scales(h).abs().log().sum().expand(len(h))

def bend(h):
    return torch.sinh(h) + 0.2, torch.cosh(h).log().sum(dim=1)

def bend_inverse(h):
    return torch.asinh(h - 0.2), -0.5 * torch.log1p((h - 0.2) ** 2).sum(dim=1)

def couple(h):
    first, rest = h[:, :1], h[:, 1:]
    log_scale = 0.7 * torch.tanh(first) + 0.1 * torch.ones_like(rest)
    return torch.cat([first, rest * log_scale.exp() + torch.sin(first)], dim=1), log_scale.sum(dim=1)

def couple_inverse(h):
    first, rest = h[:, :1], h[:, 1:]
    log_scale = 0.7 * torch.tanh(first) + 0.1 * torch.ones_like(rest)
    return torch.cat([first, (rest - torch.sin(first)) * (-log_scale).exp()], dim=1), -log_scale.sum(dim=1)
"""

# Calls functions of the notebook and reports what shows only where the call is made.
WITNESS = """
import sys

def named(name):
    return getattr(sys.modules["__main__"], name)

class Witness:
    def twice(self, name, *args):
        function = named(name)
        return function(*args), function(*args)

    def leaves_alone(self, name, *args):
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        before = [(value.clone(), value.requires_grad) for value in tensors]
        named(name)(*args)
        return all(torch.equal(new, old) and new.requires_grad == flag for new, (old, flag) in zip(tensors, before))

    def refuses(self, name, *args):
        try:
            named(name)(*args)
        except ValueError:
            return True
        return False

    def gradient_beyond(self, name, fn, x):
        leaf = x.clone().requires_grad_(True)
        named(name)(fn, torch.sinh(leaf)).sum().backward()
        return leaf.grad

witness = Witness()
"""

# Maps for the autograd task: they mix all numbers of a point and treat the points one by one.
MAPS = """
def flat(x):
    return x.reshape(x.shape[0], -1)

def mix(x):
    v = flat(x)
    out = v + 0.6 * torch.sin(1.3 * v.roll(1, dims=1)) + 0.4 * v * torch.tanh(v.sum(dim=1, keepdim=True))
    return (2.5 * out).reshape(x.shape)

def mirror(x):
    v = mix(x)
    return torch.cat([-v[:, :1], v[:, 1:]], dim=1)

def swirl(x):
    a, b = x[:, :1], x[:, 1:2]
    return torch.cat([a + b**2, b - torch.sin(a + b**2), x[:, 2:]], dim=1)

def reverse(x):
    return x.flip(dims=(1,)) * 1.5

def tiny(x):
    return 1e-9 * x + 0.0 * x.sum(dim=1, keepdim=True)

def huge(x):
    return 1e9 * x

def cube(x):
    return x**3

def onto_a_line(x):
    return x.sum(dim=1, keepdim=True) * torch.arange(1, x.shape[1] + 1, dtype=x.dtype)

def squeeze(x):
    return torch.cat([1e-20 * torch.sin(x[:, :1]), torch.sinh(x[:, 1:])], dim=1)

def partly_constant(x):
    return torch.cat([x[:, :1], torch.ones_like(x[:, 1:])], dim=1)
"""


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


def uniform(rng, low, high, *shape, dtype=torch.float64):
    return (low + (high - low) * torch.rand(*shape, generator=rng, dtype=torch.float64)).to(dtype)


def some_dimension(rng):
    """A number of dimensions that no answer can know in advance."""
    return int(torch.randint(4, 13, (1,), generator=rng))


def here(source):
    """Run a helper's source in this process too; return its namespace."""
    namespace = {"torch": torch, "math": math}
    exec(source, namespace)
    return namespace


def scale_of_either_sign(rng, dimension):
    """Scales between 0.4 and 2.5 in size, the first negative, the others of random sign, their product far from 1."""
    signs = 1.0 - 2.0 * torch.randint(0, 2, (dimension,), generator=rng).double()
    signs[0] = -1.0
    return signs * torch.exp(uniform(rng, 0.3, 0.9, dimension))


# Task 1: affine-density


@property_of(
    "affine-density",
    "The density at x is the base density at the latent point that x comes from, divided by the volume factor of the "
    "map from latent to data.",
    hint_link=CHAPTER,
)
def test_affine_value(student, rng):
    base = student.define(BASE, "base")
    for dimension in (2, some_dimension(rng)):
        a, b = scale_of_either_sign(rng, dimension), randn(rng, dimension)
        z = randn(rng, 6, dimension)
        found = student.affine_log_density(a * z + b, a, b, base, returns=tensor(6))
        assert_close(found, here(BASE)["base"](z) - a.abs().log().sum(), TOLERANCE)


@property_of(
    "affine-density",
    "A decreasing map has a density too: the volume factor is |a|, whatever the sign of a.",
    hint_link=CHAPTER,
)
def test_affine_decreasing(student, rng):
    base = student.define(BASE, "base")
    a, b = torch.tensor([-1.7], dtype=torch.float64), randn(rng, 1)
    z = randn(rng, 5, 1)
    found = student.affine_log_density(a * z + b, a, b, base, returns=tensor(5))
    assert_close(found, here(BASE)["base"](z) - math.log(1.7), TOLERANCE)


@property_of("affine-density", "A density has total mass 1.", hint_link=CHAPTER)
def test_affine_total_mass(student, rng):
    base = student.define(BASE, "base")
    a = torch.tensor([1.6, -0.4], dtype=torch.float64)
    b = torch.tensor([0.7, -1.2], dtype=torch.float64)

    def log_density(x):
        return student.affine_log_density(x, a, b, base, returns=tensor(len(x)))

    mass, error = total_mass(log_density, 2, rng, center=b, scale=2.5 * a.abs())
    if not abs(mass - 1) <= 5 * error + 1e-3:
        raise PropertyError(f"the total mass is {mass:.3f}, with a standard error of {error:.3f}")


@property_of("affine-density", "What is said about one point does not depend on the other points of the batch.")
def test_affine_batch(student, rng):
    base = student.define(BASE, "base")
    a, b, x = scale_of_either_sign(rng, 3), randn(rng, 3), randn(rng, 9, 3)

    def log_density(points):
        return student.affine_log_density(points, a, b, base, returns=tensor(len(points)))

    assert_close(shuffled(log_density, x, rng), log_density(x), TOLERANCE)
    assert_close(log_density(x[:1]), log_density(x)[:1], TOLERANCE)


@property_of(
    "affine-density",
    "With many coordinates the product of the scales leaves the range of floating point numbers; the sum of their "
    "logarithms does not.",
)
def test_affine_many_coordinates(student, rng):
    base = student.define(BASE, "base")
    for size in (1e-3, 1e3):
        a = size * scale_of_either_sign(rng, 700)
        b, z = randn(rng, 700), randn(rng, 2, 700)
        found = student.affine_log_density(a * z + b, a, b, base, returns=tensor(2))
        assert_close(found, here(BASE)["base"](z) - a.abs().log().sum(), TOLERANCE)


@property_of(
    "affine-density", "The result has the dtype of the data: float32 gives the numbers of float64 up to rounding."
)
def test_affine_single_precision(student, rng):
    base = student.define(BASE, "base")
    a, b, z = scale_of_either_sign(rng, 3), randn(rng, 3), randn(rng, 6, 3)
    x = a * z + b
    wide = student.affine_log_density(x, a, b, base, returns=tensor(6))
    narrow = student.affine_log_density(x.float(), a.float(), b.float(), base, returns=tensor(6, dtype=torch.float32))
    assert_close(narrow, wide.float(), 1e-4)


@property_of("affine-density", "Gradients flow to the data and to the scales, so that the scales can be trained.")
def test_affine_gradients(student, rng):
    base = student.define(BASE, "base")
    a, b, x = scale_of_either_sign(rng, 3), randn(rng, 3), randn(rng, 4, 3)

    def of_data(points):
        return student.affine_log_density(points, a, b, base, returns=tensor(len(points)))

    def of_scales(rows):
        values = [student.affine_log_density(x, row, b, base, returns=tensor(4)).sum() for row in rows]
        return torch.stack(values)

    found = student.input_gradient("affine_log_density", x, a, b, base, returns=tensor(4, 3))
    expected = finite_difference_jacobian(of_data, x, rng)[:, 0]
    assert_close(found, expected, TOLERANCE, what="the gradient for the data")
    found = student.input_gradient("affine_log_density", x, a, b, base, wrt=1, returns=tensor(3))
    expected = finite_difference_jacobian(of_scales, a[None], rng, step=1e-3)[0, 0]
    assert_close(found, expected, TOLERANCE, what="the gradient for the scales")


@property_of("affine-density", "Gradients flow to the shifts as well, so that they can be trained.")
def test_affine_gradient_of_shifts(student, rng):
    base = student.define(BASE, "base")
    a, b, x = scale_of_either_sign(rng, 3), randn(rng, 3), randn(rng, 4, 3)
    found = student.input_gradient("affine_log_density", x, a, b, base, wrt=2, returns=tensor(3))
    leaf = b.clone().requires_grad_(True)
    expected = torch.autograd.grad(here(BASE)["base"]((x - leaf) / a).sum(), leaf)[0]
    assert_close(found, expected, TOLERANCE, what="the gradient for the shifts")


@property_of("affine-density", "The tensors that are handed in stay as they are.")
def test_affine_leaves_data_alone(student, rng):
    base, witness = student.define(BASE, "base"), student.define(WITNESS, "witness")
    a, b, x = scale_of_either_sign(rng, 3), randn(rng, 3), randn(rng, 5, 3)
    if not witness.leaves_alone("affine_log_density", x, a, b, base, returns=boolean()):
        raise PropertyError("a tensor that was handed in had changed after the call")


@property_of("affine-density", "A scale may be tiny or huge: only one that is exactly 0 is refused.")
def test_affine_extreme_scales(student, rng):
    base = student.define(BASE, "base")
    for size in (1e-30, 1e-12, 1e12, 1e30):
        a = torch.tensor([size, -2.0 * size], dtype=torch.float64)
        b, z = torch.zeros(2, dtype=torch.float64), randn(rng, 3, 2)
        found = student.affine_log_density(a * z + b, a, b, base, returns=tensor(3))
        assert_close(found, here(BASE)["base"](z) - a.abs().log().sum(), TOLERANCE)


@property_of(
    "affine-density",
    "A scale of zero leaves no density, wherever it stands: ValueError says so.",
    hint_link=CHAPTER,
)
def test_affine_zero_scale(student, rng):
    base, witness = student.define(BASE, "base"), student.define(WITNESS, "witness")
    for place in range(3):
        a = scale_of_either_sign(rng, 3)
        a[place] = 0.0
        if not witness.refuses("affine_log_density", randn(rng, 4, 3), a, randn(rng, 3), base, returns=boolean()):
            raise PropertyError("a scale of zero was accepted without a ValueError")


# Task 2: logit


def logit_forward(student, x, low, high, alpha, dtype=torch.float64):
    returns = (tensor(*x.shape, dtype=dtype), tensor(len(x), dtype=dtype))
    return student.logit_forward(x, low, high, alpha, returns=returns)


def logit_inverse(student, z, low, high, alpha, dtype=torch.float64):
    returns = (tensor(*z.shape, dtype=dtype), tensor(len(z), dtype=dtype))
    return student.logit_inverse(z, low, high, alpha, returns=returns)


@property_of(
    "logit", "The forward map squashes the interval to [α, 1 − α] and then takes the logit.", hint_link=CHAPTER
)
def test_logit_forward_value(student, rng):
    for dimension, low, high, alpha in (
        (1, 0.0, 1.0, 0.05),
        (some_dimension(rng), -3.0, 1.5, 0.2),
        (2, 10.0, 265.0, 1e-3),
    ):
        x = uniform(rng, low, high, 5, dimension)
        z, _ = logit_forward(student, x, low, high, alpha)
        s = alpha + (1 - 2 * alpha) * (x - low) / (high - low)
        assert_close(torch.sigmoid(z), s, TOLERANCE, what="the sigmoid of the latent point")


@property_of(
    "logit",
    "The inverse takes every latent point back to data, and is not clamped.",
    hint_link=CHAPTER,
)
def test_logit_inverse_value(student, rng):
    for dimension, low, high, alpha in ((1, 0.0, 1.0, 0.05), (some_dimension(rng), -3.0, 1.5, 0.2)):
        x = uniform(rng, low, high, 5, dimension)
        back, _ = logit_inverse(student, logit_forward(student, x, low, high, alpha)[0], low, high, alpha)
        assert_close(back, x, TOLERANCE, what="the point that went forth and back")
        z = 4 * randn(rng, 6, dimension)
        found, _ = logit_inverse(student, z, low, high, alpha)
        expected = low + (high - low) * (torch.sigmoid(z) - alpha) / (1 - 2 * alpha)
        assert_close(found, expected, TOLERANCE, what="the data point")


@property_of(
    "logit",
    "The forward log-determinant is that of the map from data to latent: for every coordinate the slope of the logit, "
    "of the squashing and of the interval.",
    hint_link=CHAPTER,
)
def test_logit_forward_log_det(student, rng):
    for dimension, low, high, alpha in ((1, 0.0, 8.0, 0.05), (3, -3.0, 5.0, 0.2)):
        width = high - low
        x = uniform(rng, low + 0.1 * width, high - 0.1 * width, 5, dimension)
        _, found = logit_forward(student, x, low, high, alpha)
        expected = finite_difference_log_det(
            lambda p, low=low, high=high, alpha=alpha: logit_forward(student, p, low, high, alpha)[0], x, rng
        )
        assert_close(found, expected, TOLERANCE, what="the log-determinant")


@property_of(
    "logit",
    "The inverse returns the log-determinant of its own direction, from latent to data.",
    hint_link=CHAPTER,
)
def test_logit_inverse_log_det(student, rng):
    for dimension, low, high, alpha in ((1, 0.0, 1.0, 0.05), (3, -3.0, 1.5, 0.2)):
        z = 1.5 * randn(rng, 5, dimension)
        _, found = logit_inverse(student, z, low, high, alpha)
        expected = finite_difference_log_det(
            lambda p, low=low, high=high, alpha=alpha: logit_inverse(student, p, low, high, alpha)[0], z, rng
        )
        assert_close(found, expected, TOLERANCE, what="the log-determinant")


@property_of("logit", "With α > 0 the end points of the interval have finite images and log-determinants.")
def test_logit_end_points(student, rng):
    for low, high, alpha in ((0.0, 1.0, 0.01), (-2.0, 6.0, 0.05)):
        x = torch.tensor([[low, high], [high, low]], dtype=torch.float64)
        z, log_det = logit_forward(student, x, low, high, alpha)
        end = math.log((1 - alpha) / alpha)
        assert_close(
            z, torch.tensor([[-end, end], [end, -end]], dtype=torch.float64), TOLERANCE, what="the image of the ends"
        )
        slope = math.log((1 - 2 * alpha) / (high - low)) - math.log(alpha) - math.log(1 - alpha)
        expected = torch.full((2,), 2 * slope, dtype=torch.float64)
        assert_close(log_det, expected, TOLERANCE, what="the log-determinant at the ends")


@property_of(
    "logit",
    "With α = 0 and a logistic base the density of the data is uniform on the interval.",
    hint_link=CHAPTER,
)
def test_logit_makes_logistic_uniform(student, rng):
    low, high = -1.0, 3.0
    x = uniform(rng, low, high, 7, 3)
    z, log_det = logit_forward(student, x, low, high, 0.0)
    log_base = -(torch.nn.functional.softplus(z) + torch.nn.functional.softplus(-z)).sum(dim=1)
    expected = torch.full((7,), -3 * math.log(high - low), dtype=torch.float64)
    assert_close(log_base + log_det, expected, TOLERANCE, what="the log-density of the data")


@property_of(
    "logit",
    "Far out the sigmoid rounds to 0 or 1, yet the log-determinant of the inverse stays finite and right.",
)
def test_logit_far_out(student, rng):
    for dtype, tolerance in ((torch.float64, TOLERANCE), (torch.float32, 1e-2)):
        z = torch.tensor([[200.0, -1.0], [-150.0, -90.0], [45.0, 0.0]], dtype=torch.float64)
        slope = math.log(1 - 2 * 0.1) - math.log(5.0)
        exact = -torch.nn.functional.softplus(z) - torch.nn.functional.softplus(-z) - slope
        _, found = logit_inverse(student, z.to(dtype), -1.0, 4.0, 0.1, dtype)
        assert_close(found, exact.sum(dim=1).to(dtype), tolerance, what="the log-determinant")


@property_of("logit", "There is one log-determinant for each point, and it does not depend on the rest of the batch.")
def test_logit_batch(student, rng):
    x = uniform(rng, 0.5, 1.5, 9, 3)
    z = randn(rng, 9, 3)
    for which, points in ((logit_forward, x), (logit_inverse, z)):

        def log_det(p, which=which):
            return which(student, p, 0.0, 2.0, 0.05)[1]

        assert_close(shuffled(log_det, points, rng), log_det(points), TOLERANCE, what="the log-determinant")
        assert_close(log_det(points[:1]), log_det(points)[:1], TOLERANCE, what="the log-determinant of a single point")


@property_of("logit", "Both directions keep the dtype, and float32 gives the numbers of float64 up to rounding.")
def test_logit_single_precision(student, rng):
    x = uniform(rng, 0.5, 3.5, 6, 3)
    for which, points in ((logit_forward, x), (logit_inverse, randn(rng, 6, 3))):
        wide = which(student, points, 0.0, 4.0, 0.05)
        narrow = which(student, points.float(), 0.0, 4.0, 0.05, torch.float32)
        for found, expected in zip(narrow, wide):
            assert_close(found, expected.float(), 1e-4)


@property_of("logit", "Gradients flow through the outputs and the log-determinants.")
def test_logit_gradients(student, rng):
    x, z = uniform(rng, 0.5, 1.5, 4, 3), randn(rng, 4, 3)
    for name, which, points in (("logit_forward", logit_forward, x), ("logit_inverse", logit_inverse, z)):
        found = student.input_gradient(name, points, 0.0, 2.0, 0.05, output=1, returns=tensor(4, 3))
        expected = finite_difference_jacobian(lambda p, which=which: which(student, p, 0.0, 2.0, 0.05)[1], points, rng)
        assert_close(found, expected[:, 0], TOLERANCE, what="the gradient of the log-determinant")


@property_of("logit", "Gradients flow through the points that come out, in both directions.")
def test_logit_gradients_of_points(student, rng):
    x, z = uniform(rng, 0.5, 1.5, 4, 3), randn(rng, 4, 3)
    s = 0.05 + 0.9 * x / 2
    found = student.input_gradient("logit_forward", x, 0.0, 2.0, 0.05, output=0, returns=tensor(4, 3))
    assert_close(found, 0.45 / (s * (1 - s)), TOLERANCE, what="the gradient of the latent point")
    found = student.input_gradient("logit_inverse", z, 0.0, 2.0, 0.05, output=0, returns=tensor(4, 3))
    s = torch.sigmoid(z)
    assert_close(found, s * (1 - s) / 0.45, TOLERANCE, what="the gradient of the data point")


@property_of("logit", "Far out the gradient of the inverse's log-determinant is -1 or 1, never NaN.")
def test_logit_gradient_far_out(student, rng):
    for dtype in (torch.float64, torch.float32):
        z = torch.tensor([[200.0, -200.0, 100.0, -60.0]], dtype=dtype)
        found = student.input_gradient("logit_inverse", z, -1.0, 4.0, 0.1, output=1, returns=tensor(1, 4, dtype=dtype))
        assert_close(found, -z.sign(), TOLERANCE, what="the gradient of the log-determinant")


@property_of("logit", "Near the ends z grows without bound as α goes to 0: nothing may hold it back.")
def test_logit_near_the_ends(student, rng):
    for alpha, distance in ((0.0, 1e-6), (0.0, 1e-30), (1e-9, 0.0)):
        x = torch.tensor([[2.0 * distance], [1.0]], dtype=torch.float64)
        s = alpha + (1 - 2 * alpha) * x / 2.0
        z, log_det = logit_forward(student, x, 0.0, 2.0, alpha)
        assert_close(z, s.log() - torch.log1p(-s), TOLERANCE, what="the latent point")
        slope = math.log((1 - 2 * alpha) / 2.0) - s.log() - torch.log1p(-s)
        assert_close(log_det, slope[:, 0], TOLERANCE, what="the log-determinant")


@property_of("logit", "The tensors that are handed in stay as they are.")
def test_logit_leaves_points_alone(student, rng):
    witness = student.define(WITNESS, "witness")
    for name, points in (("logit_forward", uniform(rng, 0.5, 1.5, 4, 3)), ("logit_inverse", randn(rng, 4, 3))):
        if not witness.leaves_alone(name, points, -1.0, 2.0, 0.05, returns=boolean()):
            raise PropertyError(f"{name} changed the tensor that it was given")


# Task 3: composition

NAMES = ("scale", "bend", "couple")


def handles(student, names):
    return [student.define(STEPS, name) for name in names]


def generate(z, names):
    """Return every h_k and its log-density, computed here."""
    tools = here(STEPS)
    points, log_p = [z], [here(BASE)["base"](z)]
    for name in names:
        h, log_det = tools[name](points[-1])
        points.append(h)
        log_p.append(log_p[-1] - log_det)
    return points, torch.stack(log_p)


def inverses_of(student, names):
    return handles(student, [f"{name}_inverse" for name in names])


@property_of(
    "composition",
    "On the way from data to latent the last step is undone first, and the log-determinants of the inverses are added.",
    hint_link=CHAPTER,
)
def test_composed_value(student, rng):
    base = student.define(BASE, "base")
    for names, dimension in (
        (("scale", "bend", "couple"), some_dimension(rng)),
        (("couple", "scale"), 2),
        (("bend", "scale", "bend"), 1),
    ):
        points, log_p = generate(0.5 * randn(rng, 6, dimension), names)
        inverses = inverses_of(student, names)
        found = student.composed_log_density(points[-1], inverses, base, returns=tensor(6))
        assert_close(found, log_p[-1], TOLERANCE, what="log p(x)")


@property_of("composition", "The log-density of the data has total mass 1.", hint_link=CHAPTER)
def test_composed_total_mass(student, rng):
    base = student.define(BASE, "base")
    inverses = inverses_of(student, ("couple", "scale"))

    def log_density(x):
        return student.composed_log_density(x, inverses, base, returns=tensor(len(x)))

    mass, error = total_mass(log_density, 2, rng, scale=3.0)
    if not abs(mass - 1) <= 5 * error + 1e-3:
        raise PropertyError(f"the total mass is {mass:.3f}, with a standard error of {error:.3f}")


@property_of(
    "composition",
    "In the generative direction every step lowers the log-density by its log-determinant, and row k belongs to the "
    "point after k steps.",
    hint_link=CHAPTER,
)
def test_along_value(student, rng):
    base = student.define(BASE, "base")
    for names, dimension in (
        (("scale", "bend", "couple"), some_dimension(rng)),
        (("bend",), 1),
        (("couple", "scale", "bend", "couple"), 2),
    ):
        z = 0.5 * randn(rng, 6, dimension)
        points, log_p = generate(z, names)
        x, found = student.log_densities_along(
            z, handles(student, names), base, returns=(tensor(6, dimension), tensor(len(names) + 1, 6))
        )
        assert_close(x, points[-1], TOLERANCE, what="the final point")
        assert_close(found, log_p, TOLERANCE, what="the table of log-densities")


@property_of("composition", "Without any step x is z and has the density of the base.")
def test_composition_of_nothing(student, rng):
    base = student.define(BASE, "base")
    z = randn(rng, 5, 2)
    expected = here(BASE)["base"](z)
    assert_close(student.composed_log_density(z, [], base, returns=tensor(5)), expected, TOLERANCE)
    x, log_p = student.log_densities_along(z, [], base, returns=(tensor(5, 2), tensor(1, 5)))
    assert_close(x, z, 0.0, what="the final point")
    assert_close(log_p[0], expected, TOLERANCE, what="row 0")


@property_of("composition", "What is said about one point does not depend on the other points of the batch.")
def test_composition_batch(student, rng):
    base = student.define(BASE, "base")
    steps, inverses = handles(student, NAMES), inverses_of(student, NAMES)
    x = 0.5 * randn(rng, 9, 3)

    def log_density(points):
        return student.composed_log_density(points, inverses, base, returns=tensor(len(points)))

    def along(points):
        returns = (tensor(len(points), 3), tensor(len(NAMES) + 1, len(points)))
        return student.log_densities_along(points, steps, base, returns=returns)[1].T

    for call in (log_density, along):
        assert_close(shuffled(call, x, rng), call(x), TOLERANCE)
        assert_close(call(x[:1]), call(x)[:1], TOLERANCE, what="the result for a single point")


@property_of(
    "composition", "The results have the dtype of the points: float32 gives the numbers of float64 up to rounding."
)
def test_composition_single_precision(student, rng):
    base = student.define(BASE, "base")
    steps, inverses = handles(student, NAMES), inverses_of(student, NAMES)
    points, _ = generate(0.5 * randn(rng, 6, 3), NAMES)

    def both(dtype):
        x, z = points[-1].to(dtype), points[0].to(dtype)
        log_p = student.composed_log_density(x, inverses, base, returns=tensor(6, dtype=dtype))
        returns = (tensor(6, 3, dtype=dtype), tensor(4, 6, dtype=dtype))
        return log_p, *student.log_densities_along(z, steps, base, returns=returns)

    for narrow, wide in zip(both(torch.float32), both(torch.float64)):
        assert_close(narrow, wide.float(), 1e-3)


@property_of("composition", "Gradients flow through both functions.")
def test_composition_gradients(student, rng):
    base = student.define(BASE, "base")
    steps, inverses = handles(student, NAMES), inverses_of(student, NAMES)
    points, _ = generate(0.5 * randn(rng, 4, 3), NAMES)
    x, z = points[-1], points[0]

    def composed(p):
        return student.composed_log_density(p, inverses, base, returns=tensor(len(p)))

    def along(p):
        returns = (tensor(len(p), 3), tensor(len(NAMES) + 1, len(p)))
        return student.log_densities_along(p, steps, base, returns=returns)[1].sum(dim=0)

    found = student.input_gradient("composed_log_density", x, inverses, base, returns=tensor(4, 3))
    expected = finite_difference_jacobian(composed, x, rng)[:, 0]
    assert_close(found, expected, TOLERANCE, what="the gradient of log p(x)")
    found = student.input_gradient("log_densities_along", z, steps, base, output=1, returns=tensor(4, 3))
    expected = finite_difference_jacobian(along, z, rng)[:, 0]
    assert_close(found, expected, TOLERANCE, what="the gradient of the log-densities along the way")


@property_of("composition", "The list that is handed in stays as it is, so a second call gives the same answer.")
def test_composition_leaves_lists_alone(student, rng):
    base = student.define(BASE, "base")
    witness = student.define(WITNESS, "witness")
    points, _ = generate(0.5 * randn(rng, 5, 3), NAMES)
    inverses, steps = inverses_of(student, NAMES), handles(student, NAMES)
    first, second = witness.twice("composed_log_density", points[-1], inverses, base, returns=(tensor(5), tensor(5)))
    assert_close(second, first, TOLERANCE, what="the answer to the second call")
    pair = (tensor(5, 3), tensor(4, 5))
    first, second = witness.twice("log_densities_along", points[0], steps, base, returns=(pair, pair))
    for again, before in zip(second, first):
        assert_close(again, before, TOLERANCE, what="the answer to the second call")


@property_of("composition", "Gradients flow through the final points too.")
def test_along_gradient_of_points(student, rng):
    base, steps = student.define(BASE, "base"), handles(student, NAMES)
    z = 0.5 * randn(rng, 4, 3)
    found = student.input_gradient("log_densities_along", z, steps, base, output=0, returns=tensor(4, 3))
    leaf = z.clone().requires_grad_(True)
    expected = torch.autograd.grad(generate(leaf, NAMES)[0][-1].sum(), leaf)[0]
    assert_close(found, expected, TOLERANCE, what="the gradient of the final points")


@property_of("composition", "The number of steps is free: a dozen are as good as two.")
def test_composition_of_many(student, rng):
    base = student.define(BASE, "base")
    names = ("couple", "scale", "bend") + ("scale", "couple") * 4 + ("couple",)
    z = 0.2 * randn(rng, 3, 3)
    points, log_p = generate(z, names)
    found = student.composed_log_density(points[-1], inverses_of(student, names), base, returns=tensor(3))
    assert_close(found, log_p[-1], TOLERANCE, what="log p(x)")
    returns = (tensor(3, 3), tensor(len(names) + 1, 3))
    _, found = student.log_densities_along(z, handles(student, names), base, returns=returns)
    assert_close(found, log_p, TOLERANCE, what="the table of log-densities")


# Task 4: log-abs-det


def log_abs_det(student, fn, x, finite=True):
    return student.log_abs_det(fn, x, returns=tensor(len(x), dtype=x.dtype, finite=finite))


@property_of(
    "log-abs-det",
    "The result is log|det J| of the whole Jacobian at each point, with all entries off the diagonal.",
    hint_link=CHAPTER,
)
def test_autograd_value(student, rng):
    for name, dimension in (("mix", 2), ("mix", 3), ("mix", some_dimension(rng)), ("mirror", 4)):
        x = 0.7 * randn(rng, 5, dimension)
        found = log_abs_det(student, student.define(MAPS, name), x)
        assert_close(found, finite_difference_log_det(here(MAPS)[name], x, rng), TOLERANCE, what="log|det J|")


@property_of("log-abs-det", "Every shear keeps volume, so two shears in a row have log|det J| = 0.", hint_link=CHAPTER)
def test_autograd_volume_preserving(student, rng):
    swirl = student.define(MAPS, "swirl")
    for dimension in (2, 5):
        found = log_abs_det(student, swirl, randn(rng, 6, dimension))
        assert_close(found, torch.zeros(6, dtype=torch.float64), TOLERANCE, what="log|det J|")


@property_of("log-abs-det", "A map that reverses orientation has a negative determinant: its absolute value counts.")
def test_autograd_orientation(student, rng):
    reverse = student.define(MAPS, "reverse")
    for dimension in (2, 3):
        found = log_abs_det(student, reverse, randn(rng, 4, dimension))
        assert_close(
            found, torch.full((4,), dimension * math.log(1.5), dtype=torch.float64), TOLERANCE, what="log|det J|"
        )


@property_of("log-abs-det", "In one dimension log|det J| is the logarithm of the absolute slope.", hint_link=CHAPTER)
def test_autograd_one_dimension(student, rng):
    x = 0.5 + torch.rand(5, 1, generator=rng, dtype=torch.float64)
    for sign in (1.0, -1.0):
        found = log_abs_det(student, student.define(MAPS, "cube"), sign * x)
        assert_close(found, (3 * x[:, 0] ** 2).log(), TOLERANCE, what="log|det J|")


@property_of("log-abs-det", "A point may have any shape: all of its numbers together form one vector with D entries.")
def test_autograd_event_shapes(student, rng):
    mix = student.define(MAPS, "mix")
    for event in ((2, 3), (2, 1, 2), (1, 1, 1)):
        x = 0.7 * randn(rng, 3, *event)
        found = log_abs_det(student, mix, x)
        expected = finite_difference_log_det(here(MAPS)["mix"], x.reshape(3, -1), rng)
        assert_close(found, expected, TOLERANCE, what="log|det J|")


@property_of("log-abs-det", "A determinant may leave the range of floating point numbers; its logarithm does not.")
def test_autograd_range(student, rng):
    for name, size in (("tiny", 1e-9), ("huge", 1e9)):
        found = log_abs_det(student, student.define(MAPS, name), randn(rng, 2, 60))
        assert_close(found, torch.full((2,), 60 * math.log(size), dtype=torch.float64), TOLERANCE, what="log|det J|")


@property_of("log-abs-det", "Where the Jacobian is singular, log|det J| is minus infinity, and only there.")
def test_autograd_singular(student, rng):
    x = torch.tensor([[0.5, -1.0], [0.0, 2.0], [-1.5, 0.25]], dtype=torch.float64)
    found = log_abs_det(student, student.define(MAPS, "cube"), x, finite=False)
    assert_close(found, (3 * x**2).log().sum(dim=1), TOLERANCE, what="log|det J|")
    found = log_abs_det(student, student.define(MAPS, "partly_constant"), randn(rng, 3, 2), finite=False)
    assert_close(found, torch.full((3,), -math.inf, dtype=torch.float64), 0.0, what="log|det J| of a singular map")
    found = log_abs_det(student, student.define(MAPS, "onto_a_line"), randn(rng, 3, 2), finite=False)
    if not (found < -30).all():  # no row of J is 0: rounding may leave the determinant a little off it
        raise PropertyError("log|det J| of a singular map is neither -inf nor, up to rounding, close to it")


@property_of("log-abs-det", "A Jacobian that is nearly singular is not singular: its log|det J| is finite.")
def test_autograd_nearly_singular(student, rng):
    x = uniform(rng, -1.2, 1.2, 4, 3)
    found = log_abs_det(student, student.define(MAPS, "squeeze"), x)
    expected = math.log(1e-20) + x[:, 0].cos().log() + x[:, 1:].cosh().log().sum(dim=1)
    assert_close(found, expected, TOLERANCE, what="log|det J|")


@property_of(
    "log-abs-det", "There is one number for each point, and it does not depend on the other points of the batch."
)
def test_autograd_batch(student, rng):
    mix = student.define(MAPS, "mix")
    x = 0.7 * randn(rng, 9, 3)

    def call(points):
        return log_abs_det(student, mix, points)

    assert_close(shuffled(call, x, rng), call(x), TOLERANCE)
    assert_close(call(x[:1]), call(x)[:1], TOLERANCE, what="the result for a single point")


@property_of("log-abs-det", "The result has the dtype of the points: float32 stays float32.")
def test_autograd_single_precision(student, rng):
    mix = student.define(MAPS, "mix")
    x = 0.7 * randn(rng, 5, 3)
    assert_close(log_abs_det(student, mix, x.float()), log_abs_det(student, mix, x).float(), 1e-3)


def where_mix_is_regular(x):
    """Return the points at which the Jacobian of mix is not nearly singular: differences are inexact near poles."""
    mix = here(MAPS)["mix"]
    jacobians = torch.stack([torch.autograd.functional.jacobian(mix, point[None])[0, :, 0] for point in x])
    return x[torch.linalg.slogdet(jacobians).logabsdet > 0]


@property_of("log-abs-det", "The log-determinant can be differentiated with respect to the points, as a loss needs it.")
def test_autograd_gradient(student, rng):
    mix = student.define(MAPS, "mix")
    x = where_mix_is_regular(0.7 * randn(rng, 60, 3))[:4]
    found = student.input_gradient("log_abs_det", mix, x, wrt=1, returns=tensor(4, 3))
    expected = finite_difference_jacobian(lambda p: log_abs_det(student, mix, p), x, rng)
    assert_close(found, expected[:, 0], TOLERANCE, what="the gradient")


@property_of("log-abs-det", "Gradients pass on through points that were themselves computed.")
def test_autograd_gradient_beyond(student, rng):
    witness, mix = student.define(WITNESS, "witness"), student.define(MAPS, "mix")
    x = where_mix_is_regular(torch.sinh(0.5 * randn(rng, 60, 3)))[:4].asinh()
    found = witness.gradient_beyond("log_abs_det", mix, x, returns=tensor(4, 3))
    expected = finite_difference_jacobian(lambda p: log_abs_det(student, mix, torch.sinh(p)), x, rng)
    assert_close(found, expected[:, 0], TOLERANCE, what="the gradient")


@property_of(
    "log-abs-det", "The points that are handed in stay as they are: their numbers, and whether they want a gradient."
)
def test_autograd_leaves_points_alone(student, rng):
    witness, mix = student.define(WITNESS, "witness"), student.define(MAPS, "mix")
    for event in ((3,), (2, 2)):
        if not witness.leaves_alone("log_abs_det", mix, 0.7 * randn(rng, 4, *event), returns=boolean()):
            raise PropertyError("after the call x had other numbers, or another requires_grad")


# Task 5: bits-per-dim


def bits_per_dim(student, log_density, *args):
    returns = tensor(log_density.shape[1], dtype=log_density.dtype)
    return student.bits_per_dim(log_density, *args, returns=returns)


@property_of("bits-per-dim", "Level n with noise u lands in the n-th of as many equal cells as there are levels.")
def test_dequantize_cells(student, rng):
    for levels, low, high, shape in ((256, 0.0, 1.0, (3, 5)), (17, -1.0, 1.0, (2, 1, 4, 4)), (2, 0.5, 3.5, (6,))):
        images = torch.randint(0, levels, shape, generator=rng)
        noise = torch.rand(shape, generator=rng, dtype=torch.float64)
        found = student.dequantize(images, noise, levels, low, high, returns=tensor(*shape))
        cells = (found - low) / (high - low) * levels
        assert_close(cells, images + noise, 1e-4, what="the position in units of cells")


@property_of(
    "bits-per-dim", "Any integer dtype will do, up to the brightest pixel, and the result has the noise's dtype."
)
def test_dequantize_dtypes(student, rng):
    values = torch.tensor([[0, 1, 127], [128, 254, 255]])
    noise = torch.rand(2, 3, generator=rng, dtype=torch.float64)
    expected = -1 + 2 * (values + noise) / 256
    for integers in (torch.uint8, torch.int16, torch.int64):
        for floats, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-6)):
            found = student.dequantize(
                values.to(integers), noise.to(floats), 256, -1.0, 1.0, returns=tensor(2, 3, dtype=floats)
            )
            assert_close(found, expected.to(floats), tolerance)


@property_of(
    "bits-per-dim",
    "A density that is uniform on the whole interval costs log2(levels) bits for each pixel, on any interval.",
    hint_link=CHAPTER,
)
def test_bits_of_uniform(student, rng):
    for dimensions, levels, low, high in (
        (784, 256, 0.0, 1.0),
        (64, 17, -1.0, 1.0),
        (3, 2, 0.0, 10.0),
        (1, 256, -3.0, 0.5),
    ):
        log_density = torch.full((4, 3), -dimensions * math.log(high - low), dtype=torch.float64)
        found = bits_per_dim(student, log_density, dimensions, levels, low, high)
        assert_close(found, torch.full((3,), math.log2(levels), dtype=torch.float64), TOLERANCE)


@property_of(
    "bits-per-dim",
    "The probabilities 2^(-bits · D) of all images add up to 1, for every density on the interval.",
    hint_link=CHAPTER,
)
def test_bits_total_probability(student, rng):
    levels, low, high, draws = 5, -2.0, 1.5, 40
    images = torch.cartesian_prod(torch.arange(levels), torch.arange(levels))
    grid = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    noise = torch.cartesian_prod(grid, grid)
    shape = (len(noise), len(images), 2)
    pixels, spread = images.expand(shape).contiguous(), noise[:, None].expand(shape).contiguous()
    y = student.dequantize(pixels, spread, levels, low, high, returns=tensor(*shape))
    t = math.pi * (y - low) / (high - low)
    log_density = (1 + 0.9 * torch.cos(t[..., 0]) * torch.cos(t[..., 1])).log() - 2 * math.log(high - low)
    bits = bits_per_dim(student, log_density, 2, levels, low, high)
    total = float((-2 * bits * math.log(2)).exp().sum())
    if not abs(total - 1) <= TOLERANCE:
        raise PropertyError(f"the probabilities of all images add up to {total:.4g}")


@property_of(
    "bits-per-dim",
    "With several draws the densities are averaged, not their logarithms; draws that agree give what one draw gives.",
)
def test_bits_average_of_densities(student, rng):
    log_density = 2 * randn(rng, 6, 4)
    dimensions = some_dimension(rng)
    found = bits_per_dim(student, log_density, dimensions, 256, 0.0, 1.0)
    expected = 8 - log_density.exp().mean(dim=0).log() / (dimensions * math.log(2))
    assert_close(found, expected, TOLERANCE)
    one = bits_per_dim(student, log_density[:1], dimensions, 256, 0.0, 1.0)
    many = bits_per_dim(student, log_density[:1].repeat(9, 1), dimensions, 256, 0.0, 1.0)
    assert_close(many, one, TOLERANCE, what="the result for equal draws")


@property_of("bits-per-dim", "Thousands of nats, of either sign, are ordinary for an image and must not overflow.")
def test_bits_extreme(student, rng):
    draws = randn(rng, 3, 4)
    for dtype, tolerance in ((torch.float64, TOLERANCE), (torch.float32, 1e-3)):
        for shift in (-20000.0, 20000.0):
            found = bits_per_dim(student, (draws + shift).to(dtype), 3072, 256, 0.0, 1.0)
            expected = 8 - (draws.exp().mean(dim=0).log() + shift) / (3072 * math.log(2))
            assert_close(found, expected.to(dtype), tolerance)


@property_of(
    "bits-per-dim", "A model that gives c nats more to an image saves c / (D log 2) bits for each of its pixels."
)
def test_bits_of_better_model(student, rng):
    log_density = randn(rng, 2, 5)
    better = bits_per_dim(student, log_density + 3.0, 12, 256, -1.0, 1.0)
    worse = bits_per_dim(student, log_density, 12, 256, -1.0, 1.0)
    expected = torch.full((5,), 3 / (12 * math.log(2)), dtype=torch.float64)
    assert_close(worse - better, expected, TOLERANCE, what="the saving")


@property_of("bits-per-dim", "Every image has its own number, which does not depend on the other images.")
def test_bits_batch(student, rng):
    log_density = 5 * randn(rng, 9, 3)

    def call(images):
        return bits_per_dim(student, images.T.contiguous(), 10, 17, 0.0, 1.0)

    assert_close(shuffled(call, log_density, rng), call(log_density), TOLERANCE)
    assert_close(call(log_density[:1]), call(log_density)[:1], TOLERANCE, what="the result for a single image")


@property_of(
    "bits-per-dim", "Gradients flow from the bits to the log-densities, and from the noisy pixels to the noise."
)
def test_bits_gradient(student, rng):
    log_density = randn(rng, 3, 4)
    found = student.input_gradient("bits_per_dim", log_density, 6, 256, 0.0, 1.0, returns=tensor(3, 4))
    assert_close(found, -log_density.softmax(dim=0) / (6 * math.log(2)), TOLERANCE, what="the gradient of the bits")
    images, noise = torch.tensor([[0, 3]]), torch.rand(1, 2, generator=rng, dtype=torch.float64)
    found = student.input_gradient("dequantize", images, noise, 4, -1.0, 1.0, wrt=1, returns=tensor(1, 2))
    assert_close(
        found, torch.full((1, 2), 0.5, dtype=torch.float64), TOLERANCE, what="the gradient of the noisy pixels"
    )


@property_of("bits-per-dim", "In float64 all of its digits count: a small difference is not rounded away.")
def test_bits_keep_double_precision(student, rng):
    log_density = torch.tensor([[0.0, 1e-4]], dtype=torch.float64) - 5000.0
    bits = bits_per_dim(student, log_density, 10, 256, 0.0, 1.0)
    assert_close(bits[0] - bits[1], torch.tensor(1e-5 / math.log(2), dtype=torch.float64), 1e-9, what="the difference")
    noise = torch.tensor([0.5, 0.5 + 1e-9], dtype=torch.float64)
    y = student.dequantize(torch.tensor([200, 200]), noise, 256, 0.0, 1.0, returns=tensor(2))
    assert_close(float(y[1] - y[0]) * 256e9, 1.0, 1e-3, what="the distance of two noisy pixels")


@property_of("bits-per-dim", "Large images have millions of nats; nothing may cut them off.")
def test_bits_of_large_images(student, rng):
    for nats in (-4e6, 4e6):
        log_density = torch.full((2, 3), nats, dtype=torch.float64)
        found = bits_per_dim(student, log_density, 3_000_000, 256, 0.0, 1.0)
        expected = 8 - nats / (3_000_000 * math.log(2))
        assert_close(found, torch.full((3,), expected, dtype=torch.float64), TOLERANCE)


@property_of("bits-per-dim", "The tensors that are handed in stay as they are.")
def test_bits_leave_tensors_alone(student, rng):
    witness = student.define(WITNESS, "witness")
    images = torch.randint(4, (2, 3), generator=rng)
    noise, log_density = torch.rand(2, 3, generator=rng, dtype=torch.float64), randn(rng, 3, 4)
    if not witness.leaves_alone("dequantize", images, noise, 4, -1.0, 1.0, returns=boolean()):
        raise PropertyError("dequantize changed a tensor that it was given")
    if not witness.leaves_alone("bits_per_dim", log_density, 6, 256, 0.0, 1.0, returns=boolean()):
        raise PropertyError("bits_per_dim changed the tensor that it was given")
