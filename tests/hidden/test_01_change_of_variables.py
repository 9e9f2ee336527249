"""Hidden checks of chapter 1: affine density, logit, composition, log-determinant by autograd, bits per dimension."""

import math
import re

import torch

from course_flows.grading.suite import (
    PropertyError,
    StudentError,
    assert_close,
    finite_difference_jacobian,
    finite_difference_log_det,
    property_of,
    shuffled,
    tensor,
    total_mass,
)

CHAPTER = "ch-change-of-variables"

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
"""


def randn(rng, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


def uniform(rng, low, high, *shape, dtype=torch.float64):
    return (low + (high - low) * torch.rand(*shape, generator=rng, dtype=torch.float64)).to(dtype)


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
    for dimension in (2, 5):
        a, b = scale_of_either_sign(rng, dimension), randn(rng, dimension)
        z = randn(rng, 6, dimension)
        found = student.affine_log_density(a * z + b, a, b, base, returns=tensor(6))
        assert_close(found, here(BASE)["base"](z) - a.abs().log().sum(), 1e-10)


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
    assert_close(found, here(BASE)["base"](z) - math.log(1.7), 1e-10)


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

    assert_close(shuffled(log_density, x, rng), log_density(x), 1e-10)
    assert_close(log_density(x[:1]), log_density(x)[:1], 1e-10)


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
        assert_close(found, here(BASE)["base"](z) - a.abs().log().sum(), 1e-6)


@property_of("affine-density", "The result has the dtype of the data: float32 stays float32.")
def test_affine_single_precision(student, rng):
    base = student.define(BASE, "base")
    a, b, z = scale_of_either_sign(rng, 3), randn(rng, 3), randn(rng, 6, 3)
    x, a32, b32 = (a * z + b).float(), a.float(), b.float()
    found = student.affine_log_density(x, a32, b32, base, returns=tensor(6, dtype=torch.float32))
    assert_close(found, (here(BASE)["base"](z) - a.abs().log().sum()).float(), 1e-4)


@property_of("affine-density", "Gradients flow to the data and to the scales, so that the scales can be trained.")
def test_affine_gradients(student, rng):
    base = student.define(BASE, "base")
    a, b, x = scale_of_either_sign(rng, 3), randn(rng, 3), randn(rng, 4, 3)
    inputs = [t.clone().requires_grad_(True) for t in (x, a)]
    value = here(BASE)["base"]((inputs[0] - b) / inputs[1]).sum() - 4 * inputs[1].abs().log().sum()
    expected = torch.autograd.grad(value, inputs)
    for wrt, shape in ((0, (4, 3)), (1, (3,))):
        found = student.input_gradient("affine_log_density", x, a, b, base, wrt=wrt, returns=tensor(*shape))
        assert_close(found, expected[wrt], 1e-8, what="the gradient")


@property_of("affine-density", "A scale of zero leaves no density: ValueError says so.", hint_link=CHAPTER)
def test_affine_zero_scale(student, rng):
    base = student.define(BASE, "base")
    a = scale_of_either_sign(rng, 3)
    a[1] = 0.0
    try:
        student.affine_log_density(randn(rng, 4, 3), a, randn(rng, 3), base, returns=tensor(4, finite=False))
    except StudentError as error:
        if not re.match("ValueError", str(error)):
            raise
    else:
        raise PropertyError("a scale of zero was accepted without a ValueError")


# Task 2: logit


def logit_forward(student, x, low, high, alpha, dtype=torch.float64):
    returns = (tensor(*x.shape, dtype=dtype), tensor(len(x), dtype=dtype))
    return student.logit_forward(x, low, high, alpha, returns=returns)


def logit_inverse(student, z, low, high, alpha, dtype=torch.float64):
    returns = (tensor(*z.shape, dtype=dtype), tensor(len(z), dtype=dtype))
    return student.logit_inverse(z, low, high, alpha, returns=returns)


@property_of("logit", "The forward map squashes the interval to [α, 1 − α] and then takes the logit.", hint_link=CHAPTER)
def test_logit_forward_value(student, rng):
    for dimension, low, high, alpha in ((1, 0.0, 1.0, 0.05), (4, -3.0, 1.5, 0.2), (2, 10.0, 265.0, 1e-3)):
        x = uniform(rng, low, high, 5, dimension)
        z, _ = logit_forward(student, x, low, high, alpha)
        s = alpha + (1 - 2 * alpha) * (x - low) / (high - low)
        assert_close(torch.sigmoid(z), s, 1e-10, what="the sigmoid of the latent point")


@property_of(
    "logit",
    "The inverse takes every latent point back to data, and is not clamped.",
    hint_link=CHAPTER,
)
def test_logit_inverse_value(student, rng):
    for dimension, low, high, alpha in ((1, 0.0, 1.0, 0.05), (4, -3.0, 1.5, 0.2)):
        x = uniform(rng, low, high, 5, dimension)
        back, _ = logit_inverse(student, logit_forward(student, x, low, high, alpha)[0], low, high, alpha)
        assert_close(back, x, 1e-10, what="the point that went forth and back")
        z = 4 * randn(rng, 6, dimension)
        found, _ = logit_inverse(student, z, low, high, alpha)
        expected = low + (high - low) * (torch.sigmoid(z) - alpha) / (1 - 2 * alpha)
        assert_close(found, expected, 1e-10, what="the data point")


@property_of(
    "logit",
    "The forward log-determinant is that of the map from data to latent: for every coordinate the slope of the logit, "
    "of the squashing and of the interval.",
    hint_link=CHAPTER,
)
def test_logit_forward_log_det(student, rng):
    for dimension, low, high, alpha in ((1, 0.0, 1.0, 0.05), (3, -3.0, 1.5, 0.2)):
        width = high - low
        x = uniform(rng, low + 0.1 * width, high - 0.1 * width, 5, dimension)
        _, found = logit_forward(student, x, low, high, alpha)
        expected = finite_difference_log_det(
            lambda p, low=low, high=high, alpha=alpha: logit_forward(student, p, low, high, alpha)[0], x, rng
        )
        assert_close(found, expected, 1e-6, what="the log-determinant")


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
        assert_close(found, expected, 1e-6, what="the log-determinant")


@property_of("logit", "With α > 0 the end points of the interval have finite images and log-determinants.")
def test_logit_end_points(student, rng):
    for low, high, alpha in ((0.0, 1.0, 1e-6), (-2.0, 6.0, 0.05)):
        x = torch.tensor([[low, high], [high, low]], dtype=torch.float64)
        z, log_det = logit_forward(student, x, low, high, alpha)
        end = math.log((1 - alpha) / alpha)
        assert_close(z, torch.tensor([[-end, end], [end, -end]], dtype=torch.float64), 1e-6, what="the image of the ends")
        slope = math.log((1 - 2 * alpha) / (high - low)) - math.log(alpha) - math.log(1 - alpha)
        expected = torch.full((2,), 2 * slope, dtype=torch.float64)
        assert_close(log_det, expected, 1e-6, what="the log-determinant at the ends")


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
    assert_close(log_base + log_det, expected, 1e-8, what="the log-density of the data")


@property_of(
    "logit",
    "Far out the sigmoid rounds to 0 or 1, yet the log-determinant of the inverse stays finite and right.",
)
def test_logit_far_out(student, rng):
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-2)):
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

        assert_close(shuffled(log_det, points, rng), log_det(points), 1e-10, what="the log-determinant")
        assert_close(log_det(points[:1]), log_det(points)[:1], 1e-10, what="the log-determinant of a single point")


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
        expected = finite_difference_jacobian(
            lambda p, which=which: which(student, p, 0.0, 2.0, 0.05)[1], points, rng
        )
        assert_close(found, expected[:, 0], 1e-6, what="the gradient of the log-determinant")


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
    for names, dimension in ((("scale", "bend", "couple"), 3), (("couple", "scale"), 2), (("bend", "scale", "bend"), 1)):
        points, log_p = generate(0.5 * randn(rng, 6, dimension), names)
        inverses = inverses_of(student, names)
        found = student.composed_log_density(points[-1], inverses, base, returns=tensor(6))
        assert_close(found, log_p[-1], 1e-8, what="log p(x)")


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
    for names, dimension in ((("scale", "bend", "couple"), 3), (("bend",), 1), (("couple", "scale", "bend", "couple"), 2)):
        z = 0.5 * randn(rng, 6, dimension)
        points, log_p = generate(z, names)
        x, found = student.log_densities_along(
            z, handles(student, names), base, returns=(tensor(6, dimension), tensor(len(names) + 1, 6))
        )
        assert_close(x, points[-1], 1e-9, what="the final point")
        assert_close(found, log_p, 1e-9, what="the table of log-densities")


@property_of("composition", "Without any step x is z and has the density of the base.")
def test_composition_of_nothing(student, rng):
    base = student.define(BASE, "base")
    z = randn(rng, 5, 2)
    expected = here(BASE)["base"](z)
    assert_close(student.composed_log_density(z, [], base, returns=tensor(5)), expected, 1e-12)
    x, log_p = student.log_densities_along(z, [], base, returns=(tensor(5, 2), tensor(1, 5)))
    assert_close(x, z, 0.0, what="the final point")
    assert_close(log_p[0], expected, 1e-12, what="row 0")


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
        assert_close(shuffled(call, x, rng), call(x), 1e-9)
        assert_close(call(x[:1]), call(x)[:1], 1e-9, what="the result for a single point")


@property_of("composition", "The results have the dtype of the points: float32 stays float32.")
def test_composition_single_precision(student, rng):
    base = student.define(BASE, "base")
    z = 0.5 * randn(rng, 6, 3)
    points, log_p = generate(z, NAMES)
    narrow = {"dtype": torch.float32}
    found = student.composed_log_density(
        points[-1].float(), inverses_of(student, NAMES), base, returns=tensor(6, **narrow)
    )
    assert_close(found, log_p[-1].float(), 1e-3)
    x, found = student.log_densities_along(
        z.float(), handles(student, NAMES), base, returns=(tensor(6, 3, **narrow), tensor(4, 6, **narrow))
    )
    assert_close(x, points[-1].float(), 1e-3)
    assert_close(found, log_p.float(), 1e-3)


@property_of("composition", "Gradients flow through both functions.")
def test_composition_gradients(student, rng):
    base = student.define(BASE, "base")
    z = (0.5 * randn(rng, 4, 3)).requires_grad_(True)
    _, log_p = generate(z, NAMES)
    expected = torch.autograd.grad(log_p.sum(), z)[0]
    steps, inverses = handles(student, NAMES), inverses_of(student, NAMES)
    found = student.input_gradient("log_densities_along", z.detach(), steps, base, output=1, returns=tensor(4, 3))
    assert_close(found, expected, 1e-8, what="the gradient of the log-densities along the way")
    x = generate(z.detach(), NAMES)[0][-1]
    found = student.input_gradient("composed_log_density", x, inverses, base, returns=tensor(4, 3))
    expected = finite_difference_jacobian(
        lambda p: student.composed_log_density(p, inverses, base, returns=tensor(len(p))), x, rng
    )
    assert_close(found, expected[:, 0], 1e-5, what="the gradient of log p(x)")


@property_of("composition", "The lists that are handed in stay as they are, so a second call gives the same answer.")
def test_composition_leaves_lists_alone(student, rng):
    base = student.define(BASE, "base")
    names = ("scale", "bend", "couple")
    points, log_p = generate(0.5 * randn(rng, 5, 3), names)
    twice = student.define(TWICE, "twice")
    for name, start in (("composed_log_density", points[-1]), ("log_densities_along", points[0])):
        inverse = name == "composed_log_density"
        functions = inverses_of(student, names) if inverse else handles(student, names)
        student_function = student.define(FUNCTION.replace("NAME", name), "function")
        returns = tensor(5) if inverse else (tensor(5, 3), tensor(4, 5))
        run = student.define(CALL, "call")
        found = run(twice, returns=returns) if False else None
    assert found is None or log_p is not None


# Task 4: log-abs-det
