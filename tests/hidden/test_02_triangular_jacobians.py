"""Hidden suite of the exercises of chapter 2: triangular Jacobians and linear flows.

Every input is drawn anew from the seed; matrices are built so that none is hard by accident.
"""

from __future__ import annotations

import math

import torch

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
)

CHAPTER = "ch-triangular-jacobians"
F32, F64 = torch.float32, torch.float64

# Calls what the notebook defines and reports what shows only where the call is made.
WITNESS = """
import sys
from torch.utils._python_dispatch import TorchDispatchMode

class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names, self.largest = set(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(part, torch.Tensor):
                self.largest = max(self.largest, part.numel())
        return result

def callable_of(target):
    return getattr(sys.modules["__main__"], target) if isinstance(target, str) else target

class Witness:
    def leaves_alone(self, target, *args):
        tensors = [value for value in args if isinstance(value, torch.Tensor)]
        before = [(value.clone(), value.requires_grad) for value in tensors]
        with torch.no_grad():
            callable_of(target)(*args)
        return all(torch.equal(new, old) and new.requires_grad == flag for new, (old, flag) in zip(tensors, before))

    def refuses(self, target, *args):
        try:
            callable_of(target)(*args)
        except ValueError:
            return True
        return False

    def uses(self, names, target, *args):
        with Operations() as seen:
            callable_of(target)(*args)
        return bool(seen.names & set(names))

    def largest(self, target, *args):
        with Operations() as seen:
            callable_of(target)(*args)
        return seen.largest

witness = Witness()
"""


def randn(*shape, rng, dtype=F64):
    return torch.randn(shape, dtype=F64, generator=rng).to(dtype)


def some_number(rng):
    """A number of coordinates that no answer can know in advance."""
    return int(torch.randint(4, 13, (1,), generator=rng))


def orthogonal(features, rng):
    return torch.linalg.qr(randn(features, features, rng=rng)).Q


def matrix_with(singular_values, rng):
    """A random matrix (D, D) with the given singular values (D,)."""
    size = len(singular_values)
    return orthogonal(size, rng) @ singular_values.diag() @ orthogonal(size, rng)


def tame(features, rng):
    """A random matrix (D, D) with singular values between 1.2 and 3, hence a log-determinant far from 0."""
    return matrix_with(torch.linspace(1.2, 3.0, features, dtype=F64), rng)


def long_cycle(size, rng):
    """A random permutation that is one cycle: for size > 2 it is not its own inverse, nor is any part of it."""
    around = torch.randperm(size, generator=rng)
    order = torch.empty(size, dtype=torch.int64)
    order[around] = around.roll(1)
    return order


def pair(x):
    """What a direction of a flow returns for the batch x (*batch, D)."""
    return tensor(*x.shape, dtype=x.dtype), tensor(*x.shape[:-1], dtype=x.dtype)


def both(flow, x):
    return flow.forward(x, returns=pair(x))


def back(flow, z):
    return flow.inverse(z, returns=pair(z))


def points_only(method):
    return lambda x: method(x, returns=pair(x))[0]


def assert_differentiable(student, flow, x, rng):
    """Require the gradients of both directions for the points, as a stack of flows needs them."""
    for method in ("forward", "inverse"):
        found = student.input_gradient(flow.bound(method), x, output=0, returns=tensor(*x.shape))
        jacobian = finite_difference_jacobian(points_only(getattr(flow, method)), x, rng)
        assert_close(found, jacobian.sum(dim=1), 1e-6, what=f"the gradient of the points of {method}")


def assert_left_alone(student, flow, x):
    """Require both directions to leave the points that they are given as they are."""
    witness = student.define(WITNESS, "witness")
    for method in ("forward", "inverse"):
        kept = witness.leaves_alone(flow.bound(method), x, returns=boolean())
        assert kept, f"{method} changed the points that it was given"


def assert_built_aside(student, name, given):
    """Require that building a flow leaves the tensor that it is built from as it is."""
    kept = student.define(WITNESS, "witness").leaves_alone(name, given, returns=boolean())
    assert kept, f"{name} changed the tensor that it was built from"


# ------------------------------------------------------------------------------------------------ 1: L d U P


def pivoted(size, rng):
    """A tame matrix (D, D) whose large entries lie on a long cycle, with at least one negative pivot."""
    signs = 1.0 - 2 * torch.randint(2, (size,), generator=rng).to(F64)
    signs[0] = -1.0
    dominant = (2.5 * signs).diag() + randn(size, size, rng=rng).clamp(-2, 2) / size
    return dominant[:, long_cycle(size, rng)]


def factors(flow, size, dtype=F64):
    square, row = tensor(size, size, dtype=dtype), tensor(size, dtype=dtype)
    return flow.factors(returns=(square, row, square, tensor(size, dtype=torch.int64)))


def train_at_random(student, flow, rng, spread=0.7):
    """Give every parameter random numbers, as a long training might."""
    old = student.parameters(flow)
    assert old, "the flow has no nn.Parameter, so nothing can be trained"
    student.set_parameters(flow, {name: spread * randn(*p.shape, rng=rng, dtype=p.dtype) for name, p in old.items()})


def assert_factors(flow, size, dtype=F64):
    """Require the promised structure of the factors; return W and the order."""
    L, d, U, order = factors(flow, size, dtype)
    one = torch.ones(size, dtype=dtype)
    assert torch.equal(L, L.tril()), "L has entries above its diagonal"
    assert torch.equal(U, U.triu()), "U has entries below its diagonal"
    assert_close(L.diagonal(), one, 0.0, what="the diagonal of L")
    assert_close(U.diagonal(), one, 0.0, what="the diagonal of U")
    assert sorted(order.tolist()) == list(range(size)), "order does not hold each coordinate exactly once"
    return L @ d.diag() @ U @ torch.eye(size, dtype=dtype)[order]


@property_of(
    "ldu-flow",
    "Right after construction the flow is z = W x for every row x of a batch, with the W that it was given.",
    hint_link=CHAPTER,
)
def test_ldu_starts_at_the_matrix(student, rng):
    for size, count in ((3, 3), (some_number(rng), 4), (40, 2)):
        matrix, x = pivoted(size, rng), randn(count, size, rng=rng)
        flow = student.LDUFlow(matrix, returns=handle())
        assert_close(both(flow, x)[0], x @ matrix.T, 1e-11, what="z")


@property_of(
    "ldu-flow",
    "W = L diag(d) U P at the start and after training: L and U triangular with ones on their diagonals, P "
    "acting first.",
    hint_link=CHAPTER,
)
def test_ldu_factors(student, rng):
    matrix, x = pivoted(4, rng), randn(6, 4, rng=rng)
    flow = student.LDUFlow(matrix, returns=handle())
    assert_close(assert_factors(flow, 4), matrix, 1e-12, what="the product L diag(d) U P at the start")
    train_at_random(student, flow, rng)
    weight = assert_factors(flow, 4)
    offset = both(flow, torch.zeros(1, 4, dtype=F64))[0]
    assert_close(
        both(flow, x)[0] - offset, x @ weight.T, 1e-11, what="the map of the trained flow, against L diag(d) U P,"
    )


@property_of(
    "ldu-flow",
    "W stays invertible whatever numbers the parameters take: a diagonal entry that training can carry to "
    "zero ends the flow, and so does one that hides outside its triangle.",
    hint_link=CHAPTER,
)
def test_ldu_is_never_singular(student, rng):
    x = randn(3, 4, rng=rng)
    flow = student.LDUFlow(pivoted(4, rng), returns=handle())
    old = student.parameters(flow)
    assert old, "the flow has no nn.Parameter, so nothing can be trained"
    for value in (0.0, -1.0, 0.5, -4.0):
        student.set_parameters(flow, {name: torch.full_like(p, value) for name, p in old.items()})
        z, log_det = both(flow, x)
        assert (factors(flow, 4)[1] != 0).all(), "an entry of d is 0"
        weight = finite_difference_jacobian(points_only(flow.forward), x[:1], rng, step=0.1)[0]
        assert_close(log_det, torch.linalg.slogdet(weight).logabsdet.expand(3), 1e-5, what="the log-determinant")
        assert_close(back(flow, z)[0], x, 1e-8, what="inverse(forward(x))")


@property_of(
    "ldu-flow",
    "Each direction returns the log-determinant of the map it has just applied, one number a point.",
    hint_link=CHAPTER,
)
def test_ldu_log_det(student, rng):
    x = randn(5, 4, rng=rng)
    flow = student.LDUFlow(pivoted(4, rng), returns=handle())
    for trained in (False, True):
        if trained:
            train_at_random(student, flow, rng, spread=0.4)
        z, log_det = both(flow, x)
        expected = finite_difference_log_det(points_only(flow.forward), x, rng)
        assert_close(log_det, expected, 1e-6, what="the log-determinant of forward")
        expected = finite_difference_log_det(points_only(flow.inverse), z, rng)
        assert_close(back(flow, z)[1], expected, 1e-6, what="the log-determinant of inverse")


@property_of(
    "ldu-flow",
    "inverse undoes forward, and forward undoes inverse, to the last digits of the float.",
    hint_link=CHAPTER,
)
def test_ldu_round_trip(student, rng):
    x = randn(7, 6, rng=rng)
    flow = student.LDUFlow(pivoted(6, rng), returns=handle())
    assert_close(back(flow, both(flow, x)[0])[0], x, 1e-12, what="inverse(forward(x))")
    assert_close(both(flow, back(flow, x)[0])[0], x, 1e-12, what="forward(inverse(z))")
    train_at_random(student, flow, rng)
    assert_close(back(flow, both(flow, x)[0])[0], x, 1e-9, what="inverse(forward(x)) after training")
    single = both(flow, x)[0][2:3]
    assert_close(back(flow, single)[0], x[2:3], 1e-9, what="inverse of a batch of one point")


@property_of(
    "ldu-flow",
    "Triangular solves hit the right side to the last digits even where W is badly conditioned; multiplying"
    " by a computed inverse matrix does not.",
    hint_link=CHAPTER,
)
def test_ldu_solves(student, rng):
    matrix = matrix_with(torch.logspace(5, -5, 6, dtype=F64), rng)
    flow = student.LDUFlow(matrix, returns=handle())
    z = both(flow, randn(8, 6, rng=rng))[0]
    again = both(flow, back(flow, z)[0])[0]
    assert_close((again - z) / z.abs().max(), torch.zeros(8, 6, dtype=F64), 1e-11, what="forward(inverse(z)) - z")


@property_of(
    "ldu-flow",
    "Any invertible matrix will do: one with zeros where elimination starts, with either sign of the "
    "determinant, and one of a single coordinate.",
    hint_link=CHAPTER,
)
def test_ldu_any_matrix(student, rng):
    for size in (1, 2, 3, 5):
        for sign in (1.0, -1.0):  # only the other diagonal, so that every pivot has to be looked for
            matrix = torch.eye(size, dtype=F64).flip(0) * torch.linspace(0.5, 3.0, size, dtype=F64)
            matrix[0] *= sign
            x = randn(4, size, rng=rng)
            flow = student.LDUFlow(matrix, returns=handle())
            z, log_det = both(flow, x)
            assert_close(z, x @ matrix.T, 1e-12, what="z")
            assert_close(back(flow, z)[0], x, 1e-12, what="inverse(forward(x))")
            expected = torch.linalg.slogdet(matrix).logabsdet.expand(4)
            assert_close(log_det, expected, 1e-12, what="the log-determinant")


@property_of(
    "ldu-flow",
    "Forty small or forty large diagonal entries: their product leaves the range of a float, the sum of "
    "their logarithms does not.",
    hint_link=CHAPTER,
)
def test_ldu_range(student, rng):
    x = randn(2, 40, rng=rng)
    flow = student.LDUFlow(pivoted(40, rng), returns=handle())
    old = student.parameters(flow)
    assert old, "the flow has no nn.Parameter, so nothing can be trained"
    for value in (-30.0, 30.0):
        student.set_parameters(flow, {name: torch.full_like(p, value) for name, p in old.items()})
        expected = factors(flow, 40)[1].abs().log().sum().expand(2)
        assert_close(both(flow, x)[1], expected, 1e-9, what="the log-determinant")


@property_of(
    "ldu-flow",
    "A flow of float32 keeps float32 everywhere: factors, points and log-determinants.",
    hint_link=CHAPTER,
)
def test_ldu_float32(student, rng):
    matrix, x = pivoted(5, rng).to(F32), randn(6, 5, rng=rng, dtype=F32)
    flow = student.LDUFlow(matrix, returns=handle())
    assert_close(assert_factors(flow, 5, F32), matrix, 1e-5, what="the product L diag(d) U P")
    z, log_det = both(flow, x)
    assert_close(z, x @ matrix.T, 1e-4, what="z")
    found, back_log_det = back(flow, z)
    assert_close(found, x, 1e-3, what="inverse(forward(x))")
    assert_close(back_log_det, -log_det, 1e-5, what="the log-determinant of inverse")


@property_of(
    "ldu-flow",
    "Gradients reach every trained number in both directions: D(D-1)/2 in L, as many in U, D in d and D in "
    "b; and the log-determinant moves with the D numbers of the diagonal.",
    hint_link=CHAPTER,
)
def test_ldu_gradients(student, rng):
    x = randn(5, 4, rng=rng)
    flow = student.LDUFlow(pivoted(4, rng), returns=handle())
    train_at_random(student, flow, rng)
    for method in ("forward", "inverse"):
        for output, wanted in ((0, 4 * 5), (1, 4)):
            found = student.gradients(flow, method, x, output=output)
            reached = sum(int((g != 0).sum()) for g in found.values() if g is not None)
            what = ("points", "log-determinants")[output]
            assert reached >= wanted, f"the {what} of {method} give a gradient to {reached} numbers, not to {wanted}"
            if output == 0:
                idle = [name for name, g in found.items() if g is None or not (g != 0).any()]
                assert not idle, f"parameters that the points of {method} do not depend on: {', '.join(idle)}"


@property_of(
    "ldu-flow",
    "The state dictionary holds the whole flow: what is fixed (order, signs) travels as a buffer with what is trained.",
    hint_link=CHAPTER,
)
def test_ldu_reload(student, rng):
    x = randn(5, 6, rng=rng)
    source = student.LDUFlow(pivoted(6, rng), returns=handle())
    train_at_random(student, source, rng, spread=0.3)
    for _ in range(3):  # three targets, should one share the order and the signs by accident
        target = student.LDUFlow(pivoted(6, rng), returns=handle())
        student.load_state_dict(target, student.state_dict(source))
        assert_close(both(target, x)[0], both(source, x)[0], 1e-12, what="z of the reloaded flow")
        assert_close(both(target, x)[1], both(source, x)[1], 1e-12, what="the log-determinant of the reloaded flow")
        assert_close(back(target, x)[0], back(source, x)[0], 1e-9, what="x of the reloaded flow")


@property_of("ldu-flow", "Both directions pass gradients on to their points, and nothing that is given is changed.")
def test_ldu_points(student, rng):
    matrix, x = pivoted(4, rng), randn(3, 4, rng=rng)
    flow = student.LDUFlow(matrix, returns=handle())
    assert_differentiable(student, flow, x, rng)
    assert_left_alone(student, flow, x)
    assert_built_aside(student, "LDUFlow", matrix)


@property_of("ldu-flow", "inverse needs triangular solves alone: no matrix inverse, no general solver, no second LU.")
def test_ldu_inverse_is_triangular(student, rng):
    flow, z = student.LDUFlow(pivoted(4, rng), returns=handle()), randn(3, 4, rng=rng)
    names = ["linalg_inv_ex", "_linalg_solve_ex", "linalg_lu", "linalg_lu_factor_ex", "linalg_lu_solve", "linalg_pinv"]
    names += ["linalg_lstsq", "_linalg_svd", "linalg_qr", "_linalg_det", "_linalg_slogdet", "cholesky_inverse"]
    used = student.define(WITNESS, "witness").uses(names, flow.bound("inverse"), z, returns=boolean())
    assert not used, "inverse used a matrix inverse, a general solver or a factorization"


# -------------------------------------------------------------------------------------------- 2: reflections


def reflected(x, vectors):
    for v in vectors:
        x = x - (2 / v.dot(v)) * torch.outer(x @ v, v)
    return x


def apply(student, x, vectors):
    return student.apply_reflections(x, vectors, returns=tensor(*x.shape, dtype=x.dtype))


def rotation(student, vectors):
    size = vectors.shape[1]
    return student.rotation_matrix(vectors, returns=tensor(size, size, dtype=vectors.dtype))


@property_of(
    "reflections",
    "The reflections act one after the other, the first row first, on every row of x by itself.",
    hint_link=CHAPTER,
)
def test_reflections_formula(student, rng):
    for count, size, number in ((9, 5, 1), (9, some_number(rng), 2), (9, 4, some_number(rng)), (2, 2, 2), (4, 1, 1)):
        x, vectors = randn(count, size, rng=rng), randn(number, size, rng=rng)
        found = shuffled(lambda rows, v=vectors: apply(student, rows, v), x, rng)
        assert_close(found, reflected(x, vectors), 1e-11, what="the reflected points")


@property_of(
    "reflections",
    "A reflection is its own inverse: the same vectors in reversed order bring every point back, and no "
    "length changes.",
    hint_link=CHAPTER,
)
def test_reflections_undo(student, rng):
    x, vectors = randn(6, 7, rng=rng), randn(30, 7, rng=rng)
    y = apply(student, x, vectors)
    assert_close(y.norm(dim=1), x.norm(dim=1), 1e-12, what="the length of the reflected points")
    assert_close(apply(student, y, vectors.flip(0)), x, 1e-12, what="the points brought back")


@property_of(
    "reflections",
    "Only the direction of a vector matters, so it may be short or long; what keeps 0/0 away must not bend the rest.",
    hint_link=CHAPTER,
)
def test_reflections_lengths(student, rng):
    for dtype, tolerance in ((F64, 1e-11), (F32, 1e-4)):
        x = randn(5, 6, rng=rng, dtype=dtype)
        vectors = torch.nn.functional.normalize(randn(4, 6, rng=rng, dtype=dtype), dim=1)
        expected = reflected(x, vectors)
        for lengths in ([1e-6] * 4, [1e6] * 4, [1e-6, 1e6, 1e-3, 1e3]):
            scaled = vectors * torch.tensor(lengths, dtype=dtype)[:, None]
            assert_close(apply(student, x, scaled), expected, tolerance, what="the reflected points")
            square = rotation(student, scaled)
            one = torch.eye(6, dtype=dtype)
            assert_close(square @ square.T, one, tolerance, what="Q Q^T")


@property_of(
    "reflections",
    "Each reflection turns the sign of the determinant; s makes up for it, so that det Q = +1 for every K, even K = 0.",
    hint_link=CHAPTER,
)
def test_reflections_determinant(student, rng):
    for size in (1, 2, 5, 6):
        for number in range(6):
            square = rotation(student, randn(number, size, rng=rng))
            one = torch.eye(size, dtype=F64)
            assert_close(square @ square.T, one, 1e-12, what="Q Q^T")
            assert_close(torch.linalg.det(square), torch.tensor(1.0, dtype=F64), 1e-10, what="det Q")


@property_of(
    "reflections",
    "Column j of Q is what becomes of the j-th unit vector: first S, which touches coordinate 0 alone, then"
    " the reflections.",
    hint_link=CHAPTER,
)
def test_reflections_matrix(student, rng):
    for size, number in ((4, 3), (5, 2), (3, 4), (6, 5)):
        vectors = randn(number, size, rng=rng)
        expected = reflected(torch.eye(size, dtype=F64), vectors).T.clone()
        expected[:, 0] *= (-1) ** number
        assert_close(rotation(student, vectors), expected, 1e-11, what="Q")


@property_of(
    "reflections",
    "Applying reflections needs the vectors and no matrix: 30 000 coordinates, or 30 000 points, are no trouble.",
    hint_link=CHAPTER,
)
def test_reflections_without_a_matrix(student, rng):
    witness = student.define(WITNESS, "witness")
    for count, size in ((2, 400), (400, 2)):
        x, vectors = randn(count, size, rng=rng), randn(3, size, rng=rng)
        largest = witness.largest("apply_reflections", x, vectors, returns=integer())
        assert largest <= 20_000, f"a tensor of {largest} entries was made for N = {count}, K = 3, D = {size}"
    for count, size in ((2, 30_000), (30_000, 2)):
        x, vectors = randn(count, size, rng=rng), randn(2, size, rng=rng)
        assert_close(apply(student, x, vectors), reflected(x, vectors), 1e-9, what="the reflected points")


@property_of(
    "reflections",
    "Without vectors nothing moves, and float32 stays float32.",
    hint_link=CHAPTER,
)
def test_reflections_none(student, rng):
    for dtype in (F64, F32):
        x, nothing = randn(3, 5, rng=rng, dtype=dtype), torch.zeros(0, 5, dtype=dtype)
        assert_close(apply(student, x, nothing), x, 0.0, what="the points")
        assert_close(rotation(student, nothing), torch.eye(5, dtype=dtype), 0.0, what="Q")


@property_of(
    "reflections",
    "Gradients reach the points and the vectors, and x is not changed in place; as only the direction of a "
    "vector matters, its gradient is orthogonal to it.",
    hint_link=CHAPTER,
)
def test_reflections_gradients(student, rng):
    x, vectors = randn(4, 5, rng=rng), randn(3, 5, rng=rng)
    found = student.input_gradient("apply_reflections", x, vectors, wrt=0, returns=tensor(4, 5))
    ones = torch.ones(4, 5, dtype=F64)
    assert_close(found, reflected(ones, vectors.flip(0)), 1e-11, what="the gradient for x")
    found = student.input_gradient("apply_reflections", x, vectors, wrt=1, returns=tensor(3, 5))
    leaf = vectors.clone().requires_grad_(True)
    expected = torch.autograd.grad(reflected(x, leaf).sum(), leaf)[0]
    assert_close(found, expected, 1e-9, relative=1e-9, what="the gradient for the vectors")
    found = student.input_gradient("rotation_matrix", vectors, wrt=0, returns=tensor(3, 5))
    assert bool((found != 0).any()), "the gradient of rotation_matrix for the vectors is 0"
    slope = (found * vectors).sum(dim=1)
    assert_close(slope, torch.zeros(3, dtype=F64), 1e-10, what="the gradient along a vector")


@property_of("reflections", "Gradients of the rotation matrix reach every vector.")
def test_rotation_gradient(student, rng):
    vectors = randn(3, 5, rng=rng)
    found = student.input_gradient("rotation_matrix", vectors, wrt=0, returns=tensor(3, 5))
    leaf = vectors.clone().requires_grad_(True)
    start = torch.eye(5, dtype=F64)
    start[0, 0] = -1.0
    expected = torch.autograd.grad(reflected(start, leaf).sum(), leaf)[0]
    assert_close(found, expected, 1e-9, relative=1e-9, what="the gradient for the vectors")


@property_of("reflections", "The tensors that are handed in stay as they are.")
def test_reflections_leave_tensors_alone(student, rng):
    witness, vectors = student.define(WITNESS, "witness"), randn(3, 5, rng=rng)
    kept = witness.leaves_alone("apply_reflections", randn(4, 5, rng=rng), vectors, returns=boolean())
    assert kept, "apply_reflections changed a tensor that it was given"
    kept = witness.leaves_alone("rotation_matrix", vectors, returns=boolean())
    assert kept, "rotation_matrix changed the vectors that it was given"


# ------------------------------------------------------------------------------------ 3: block determinants


def above(sizes):
    """Mask (D, D) of the entries above the diagonal blocks."""
    group = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return group[:, None] < group[None, :]


def block_matrices(batch, sizes, rng):
    """Random lower block triangular matrices (*batch, D, D), zero above, tame diagonal blocks of either sign."""
    matrices = randn(math.prod(batch), sum(sizes), sum(sizes), rng=rng).masked_fill(above(sizes), 0.0)
    for matrix in matrices:
        start = 0
        for size in sizes:
            stop = start + size
            sign = 1 - 2 * int(torch.randint(2, (1,), generator=rng))
            matrix[start:stop, start:stop] = sign * tame(size, rng)
            start = stop
    return matrices.reshape(*batch, sum(sizes), sum(sizes))


def log_det(student, matrix, sizes, finite=True):
    shape = matrix.shape[:-2]
    spec = tensor(*shape, dtype=matrix.dtype), tensor(*shape, dtype=matrix.dtype, finite=finite)
    return student.block_log_det(matrix, sizes, returns=spec)


def assert_log_det(student, matrix, sizes, stored=None, tolerance=1e-10):
    sign, log_abs = log_det(student, matrix if stored is None else stored, sizes)
    expected = torch.linalg.slogdet(matrix)
    assert_close(sign, expected.sign, 0.0, what="the sign")
    assert_close(log_abs, expected.logabsdet, tolerance, what="log|det|")


@property_of(
    "block-determinant",
    "The determinant is the product of those of the diagonal blocks, whole blocks, whatever their sizes.",
    hint_link=CHAPTER,
)
def test_block_sizes(student, rng):
    for sizes in ([2, 2], [2, 1, 1], [1, 3, 2], [4], [3, 1, some_number(rng), 2]):
        assert_log_det(student, block_matrices((4,), sizes, rng), sizes)


@property_of(
    "block-determinant",
    "Negative diagonal entries are no trouble: the logarithm takes absolute values, each negative entry "
    "turns the sign.",
    hint_link=CHAPTER,
)
def test_block_signs(student, rng):
    for pattern in range(8):
        signs = torch.tensor([1.0 - 2 * (pattern >> k & 1) for k in range(3)], dtype=F64)
        matrix = randn(3, 3, rng=rng).tril(-1) + (signs * torch.tensor([0.3, 2.0, 5.0], dtype=F64)).diag()
        assert_log_det(student, matrix, [1, 1, 1])


@property_of(
    "block-determinant",
    "Every matrix of a batch has a sign and a logarithm of its own, for any number of batch dimensions.",
    hint_link=CHAPTER,
)
def test_block_batches(student, rng):
    for batch in ((), (1,), (3,), (2, 3), (3, 1, 2)):
        for sizes in ([1, 1, 1], [2, 1]):
            assert_log_det(student, block_matrices(batch, sizes, rng), sizes)


@property_of(
    "block-determinant",
    "The entries above the diagonal blocks were never written, so nothing there may change the result: not "
    "a number, not infinity, not NaN.",
    hint_link=CHAPTER,
)
def test_block_unwritten(student, rng):
    for sizes in ([1, 1, 1, 1], [2, 3], [1, 2, 1]):
        matrix = block_matrices((3,), sizes, rng)
        for leftover in (7.0, math.inf, math.nan):
            assert_log_det(student, matrix, sizes, stored=matrix.masked_fill(above(sizes), leftover))


@property_of(
    "block-determinant",
    "A product of many small or large numbers leaves the range of a float, its logarithm and its sign do not.",
    hint_link=CHAPTER,
)
def test_block_range(student, rng):
    for scale in (1e-3, 1e3):
        for sizes in ([1] * 300, [2] * 150):
            matrix = scale * block_matrices((), sizes, rng)
            assert_log_det(student, matrix, sizes, tolerance=1e-7)


@property_of(
    "block-determinant",
    "A singular matrix has the sign 0 and the logarithm -inf; its neighbours in the batch notice nothing.",
    hint_link=CHAPTER,
)
def test_block_singular(student, rng):
    for sizes in ([1, 1, 1, 1], [2, 2]):
        matrix = block_matrices((3,), sizes, rng)
        matrix[1, 0, : sizes[0]] = 0.0
        sign, log_abs = log_det(student, matrix, sizes, finite=False)
        expected = torch.linalg.slogdet(matrix)
        assert_close(sign, expected.sign, 0.0, what="the sign")
        assert_close(log_abs, expected.logabsdet, 1e-10, what="log|det|")


@property_of(
    "block-determinant",
    "The gradient of log|det| is the inverse transpose of each diagonal block, and 0 above and below the blocks.",
    hint_link=CHAPTER,
)
def test_block_gradients(student, rng):
    for sizes in ([1, 1, 1], [2, 1, 3]):
        matrix = block_matrices((2,), sizes, rng)
        stored = matrix.masked_fill(above(sizes), math.nan)
        found = student.input_gradient("block_log_det", stored, sizes, output=1, returns=tensor(*matrix.shape))
        beside = above(sizes) | above(sizes).T
        blocks = matrix.masked_fill(beside, 0.0)
        assert_close(found, torch.linalg.inv(blocks).mT, 1e-10, what="the gradient")


@property_of(
    "block-determinant",
    "Sign and logarithm have the dtype of the matrix, and a single coordinate is a matrix too.",
    hint_link=CHAPTER,
)
def test_block_float32(student, rng):
    assert_log_det(student, block_matrices((3,), [1, 2, 1], rng).to(F32), [1, 2, 1], tolerance=1e-4)
    assert_log_det(student, torch.tensor([[[-0.25]], [[3.0]]], dtype=F64), [1])


@property_of("block-determinant", "One large block leaves the range of a float as well as many small ones do.")
def test_block_range_within_a_block(student, rng):
    for scale in (1e-3, 1e3):
        for sizes in ([160], [1, 130, 3]):
            assert_log_det(student, scale * block_matrices((2,), sizes, rng), sizes, tolerance=1e-7)
    matrix = 1e-3 * block_matrices((), [20, 5], rng)
    assert_log_det(student, matrix.to(F32), [20, 5], tolerance=1e-3)


@property_of("block-determinant", "A singular block may stand anywhere, in any matrix of the batch.")
def test_block_singular_anywhere(student, rng):
    for sizes in ([2, 1], [1, 2], [1, 1, 1]):
        matrix = block_matrices((2, 2), sizes, rng)
        matrix[0, 1, -sizes[-1] :, -sizes[-1] :] = 0.0
        sign, log_abs = log_det(student, matrix, sizes, finite=False)
        expected = torch.linalg.slogdet(matrix)
        assert_close(sign, expected.sign, 0.0, what="the sign")
        assert_close(log_abs, expected.logabsdet, 1e-10, what="log|det|")


@property_of("block-determinant", "The matrices that are handed in stay as they are.")
def test_block_leaves_matrices_alone(student, rng):
    witness, matrix = student.define(WITNESS, "witness"), block_matrices((3,), [1, 2], rng)
    matrix[:, 0, 1:] = 7.0
    kept = witness.leaves_alone("block_log_det", matrix, [1, 2], returns=boolean())
    assert kept, "block_log_det changed the matrix that it was given"


# ------------------------------------------------------------------------------------------- 4: permutation


def sent(x, destination):
    z = torch.empty_like(x)
    z[..., destination] = x
    return z


@property_of(
    "permutation-flow",
    "Coordinate i of x becomes coordinate destination[i] of z: the numbers say where things go, not where "
    "they come from.",
    hint_link=CHAPTER,
)
def test_permutation_forward(student, rng):
    for size in (3, 4, some_number(rng), 5000):
        destination, x = long_cycle(size, rng), randn(min(size, 9), size, rng=rng)
        for given in (destination, destination.tolist()):
            flow = student.PermutationFlow(given, returns=handle())
            assert_close(both(flow, x)[0], sent(x, destination), 0.0, what="z")


@property_of(
    "permutation-flow",
    "inverse undoes forward and forward undoes inverse to the last bit, also for orders that are not their "
    "own inverse.",
    hint_link=CHAPTER,
)
def test_permutation_inverse(student, rng):
    for size in (1, 2, 3, 8):
        x = randn(6, size, rng=rng) * torch.logspace(-250, 250, 6, dtype=F64)[:, None]
        flow = student.PermutationFlow(long_cycle(size, rng), returns=handle())
        assert_close(back(flow, both(flow, x)[0])[0], x, 0.0, what="inverse(forward(x))")
        assert_close(both(flow, back(flow, x)[0])[0], x, 0.0, what="forward(inverse(z))")


@property_of(
    "permutation-flow",
    "Any number of batch dimensions, also none: the last dimension holds the coordinates, the others are left alone.",
    hint_link=CHAPTER,
)
def test_permutation_batches(student, rng):
    destination = long_cycle(4, rng)
    flow = student.PermutationFlow(destination, returns=handle())
    for batch in ((), (4,), (1,), (4, 4), (2, 1, 3)):
        x = randn(*batch, 4, rng=rng)
        z, found = both(flow, x)
        assert_close(z, sent(x, destination), 0.0, what="z")
        assert_close(back(flow, z)[0], x, 0.0, what="inverse(forward(x))")
        assert_close(found, torch.zeros(batch, dtype=F64), 0.0, what="the log-determinants")


@property_of(
    "permutation-flow",
    "A reordering changes no volume: log|det| is 0, for even orders (det = 1) and odd ones (det = -1), both ways.",
    hint_link=CHAPTER,
)
def test_permutation_log_det(student, rng):
    for size in (1, 2, 3, 4, 5):
        x = randn(7, size, rng=rng)
        flow = student.PermutationFlow(long_cycle(size, rng), returns=handle())
        for found in (both(flow, x)[1], back(flow, x)[1]):
            assert_close(found, torch.zeros(7, dtype=F64), 0.0, what="the log-determinants")


@property_of("permutation-flow", "float32 in, float32 out: points and log-determinants.", hint_link=CHAPTER)
def test_permutation_dtype(student, rng):
    destination, x = long_cycle(5, rng), randn(3, 5, rng=rng, dtype=F32)
    flow = student.PermutationFlow(destination, returns=handle())
    z, _ = both(flow, x)
    assert_close(z, sent(x, destination), 0.0, what="z")
    assert_close(back(flow, z)[0], x, 0.0, what="inverse(forward(x))")


@property_of(
    "permutation-flow",
    "What is no permutation raises a ValueError: with a place given twice the map has no inverse.",
    hint_link=CHAPTER,
)
def test_permutation_refuses(student, rng):
    witness = student.define(WITNESS, "witness")
    numbers = [[0, 0], [1, 2], [0, 1, 3], [0, 1, 1, 3], [-1, 0, 1], [2, 2, 0], [1]]
    numbers += [[1, 1, 1], [0, 0, 3, 3], [0, 2, 2, 2], [-1, 2, 2], [3, -3, 3, 3]]  # the right sum, or the right largest
    for wrong in numbers:
        for given in (wrong, torch.tensor(wrong)):
            refused = witness.refuses("PermutationFlow", given, returns=boolean())
            assert refused, "something that is no permutation was accepted without a ValueError"


@property_of("permutation-flow", "Gradients are carried along with the points, and nothing that is given is changed.")
def test_permutation_points(student, rng):
    destination, x = long_cycle(5, rng), randn(3, 5, rng=rng)
    flow = student.PermutationFlow(destination, returns=handle())
    assert_differentiable(student, flow, x, rng)
    assert_left_alone(student, flow, x)
    assert_built_aside(student, "PermutationFlow", destination)


@property_of(
    "permutation-flow",
    "There is nothing to train, and the order is part of the state dictionary: after loading it both "
    "directions are the loaded ones.",
    hint_link=CHAPTER,
)
def test_permutation_reload(student, rng):
    x, destination = randn(3, 6, rng=rng), long_cycle(6, rng)
    source = student.PermutationFlow(destination, returns=handle())
    target = student.PermutationFlow(destination.roll(1), returns=handle())
    assert not student.parameters(source), "a permutation has no parameters, but there are some"
    student.load_state_dict(target, student.state_dict(source))
    assert_close(both(target, x)[0], sent(x, destination), 0.0, what="z of the reloaded flow")
    assert_close(back(target, sent(x, destination))[0], x, 0.0, what="x of the reloaded flow")


# ---------------------------------------------------------------------------------------------- 5: whitening


def correlated(count, size, rng, center=2.0):
    """Data (N, D) with correlated coordinates, a mean away from 0 and a covariance that is not the identity."""
    return randn(count, size, rng=rng) @ tame(size, rng).T + center * randn(size, rng=rng)


def upper_positive(size, rng):
    return randn(size, size, rng=rng).triu(1) + torch.linspace(0.5, 2.5, size, dtype=F64).diag()


def slopes(flow, x, rng):
    """The matrix W as the flow applies it, from differences."""
    return finite_difference_jacobian(points_only(flow.forward), x[:1], rng, step=0.5)[0]


@property_of(
    "whitening-flow",
    "The data themselves come out with mean 0 and the identity as covariance, with N below the line.",
    hint_link=CHAPTER,
)
def test_whitening_moments(student, rng):
    for count, size in ((40, 1), (40, 2), (60, some_number(rng)), (31, 30)):
        data = correlated(count, size, rng)
        z = both(student.WhiteningFlow(data, returns=handle()), data)[0]
        assert_close(z.mean(dim=0), torch.zeros(size, dtype=F64), 1e-8, what="the mean")
        assert_close(z.T @ z / count, torch.eye(size, dtype=F64), 1e-7, what="the covariance")


@property_of(
    "whitening-flow",
    "W is upper triangular with a positive diagonal: z_i depends on x_i and the coordinates after it, and "
    "grows with x_i.",
    hint_link=CHAPTER,
)
def test_whitening_triangle(student, rng):
    for size in (2, 4):
        data = correlated(50, size, rng)
        weight = slopes(student.WhiteningFlow(data, returns=handle()), data, rng)
        assert_close(weight.tril(-1), torch.zeros_like(weight), 1e-9, what="the part of W below the diagonal")
        assert (weight.diagonal() > 0).all(), "the diagonal of W is not positive"


@property_of(
    "whitening-flow",
    "There is only one such W: stretch, shear and shift the data by an upper triangular map with a positive"
    " diagonal, and what comes out stays the same.",
    hint_link=CHAPTER,
)
def test_whitening_is_unique(student, rng):
    data, change = correlated(50, 4, rng), upper_positive(4, rng)
    moved = data @ change.T + 3 * randn(4, rng=rng)
    z = both(student.WhiteningFlow(data, returns=handle()), data)[0]
    again = both(student.WhiteningFlow(moved, returns=handle()), moved)[0]
    assert_close(again, z, 1e-8, what="the whitened data after the change")


@property_of(
    "whitening-flow",
    "Each direction returns the log-determinant of the map it has just applied, one number a point.",
    hint_link=CHAPTER,
)
def test_whitening_log_det(student, rng):
    flow = student.WhiteningFlow(5 * correlated(50, 3, rng), returns=handle())
    x = 4 * randn(6, 3, rng=rng)
    z, found = both(flow, x)
    expected = finite_difference_log_det(points_only(flow.forward), x, rng)
    assert_close(found, expected, 1e-6, what="the log-determinant of forward")
    assert_close(back(flow, z)[1], -expected, 1e-6, what="the log-determinant of inverse")


@property_of(
    "whitening-flow",
    "The flow is fixed when it is built: a point goes the same way whatever its batch, new points too, and back again.",
    hint_link=CHAPTER,
)
def test_whitening_new_points(student, rng):
    data, x = correlated(50, 4, rng), 5 * randn(12, 4, rng=rng)
    flow = student.WhiteningFlow(data, returns=handle())
    z = both(flow, x)[0]
    assert_close(shuffled(points_only(flow.forward), x, rng, chunk=2), z, 1e-10, what="z in other batches")
    assert_close(both(flow, x[:1])[0], z[:1], 1e-10, what="z of a batch of one point")
    assert_close(back(flow, z)[0], x, 1e-9, what="inverse(forward(x))")
    assert_close(both(flow, back(flow, x)[0])[0], x, 1e-9, what="forward(inverse(z))")


@property_of(
    "whitening-flow",
    "Data far from the origin, coordinates of very different size and strong correlation are whitened all "
    "the same: center first, then square.",
    hint_link=CHAPTER,
)
def test_whitening_hard_data(student, rng):
    plain = randn(400, 4, rng=rng)
    plain[:, 2] = plain[:, 1] + 0.03 * plain[:, 2]
    far = 1e7 * (1 + torch.rand(4, dtype=F64, generator=rng))
    sizes = torch.tensor([30.0, 1.0, 0.1, 3.0], dtype=F64)
    for data, tolerance in ((plain * sizes**2, 1e-6), (plain + far, 1e-5)):
        z = both(student.WhiteningFlow(data, returns=handle()), data)[0]
        assert_close(z.mean(dim=0), torch.zeros(4, dtype=F64), tolerance, what="the mean")
        assert_close(z.T @ z / 400, torch.eye(4, dtype=F64), tolerance, what="the covariance")


@property_of(
    "whitening-flow",
    "With a standard normal base the flow is the Gaussian of largest likelihood: the mean log-likelihood of"
    " the data is -1/2 log det(2 pi e Sigma).",
    hint_link=CHAPTER,
)
def test_whitening_likelihood(student, rng):
    data = correlated(80, 3, rng)
    z, found = both(student.WhiteningFlow(data, returns=handle()), data)
    base = -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)
    best = -0.5 * torch.linalg.slogdet(2 * math.pi * math.e * torch.cov(data.T, correction=0)).logabsdet
    assert_close((base + found).mean(), best, 1e-8, what="the mean log-likelihood")


@property_of(
    "whitening-flow",
    "The state dictionary holds the whole flow, mean and matrix, and float32 stays float32.",
    hint_link=CHAPTER,
)
def test_whitening_reload(student, rng):
    x = randn(5, 3, rng=rng, dtype=F32)
    first = correlated(60, 3, rng).to(F32)
    source = student.WhiteningFlow(first, returns=handle())
    target = student.WhiteningFlow(2 * correlated(60, 3, rng).to(F32) + 1, returns=handle())
    student.load_state_dict(target, student.state_dict(source))
    z = both(source, first)[0]
    assert_close(z.T @ z / 60, torch.eye(3), 1e-3, what="the covariance")
    assert_close(both(target, x)[0], both(source, x)[0], 1e-5, what="z of the reloaded flow")
    assert_close(both(target, x)[1], both(source, x)[1], 1e-5, what="the log-determinant of the reloaded flow")
    assert_close(back(target, x)[0], back(source, x)[0], 1e-4, what="x of the reloaded flow")


@property_of("whitening-flow", "Gradients pass through both directions, and nothing that is given is changed.")
def test_whitening_points(student, rng):
    data, x = correlated(50, 3, rng), randn(4, 3, rng=rng)
    flow = student.WhiteningFlow(data, returns=handle())
    assert_differentiable(student, flow, x, rng)
    assert_left_alone(student, flow, x)
    assert_built_aside(student, "WhiteningFlow", data)


@property_of("whitening-flow", "The unit of the data does not matter: nanometers and kilometers are whitened alike.")
def test_whitening_units(student, rng):
    data = correlated(60, 4, rng)
    z = both(student.WhiteningFlow(data, returns=handle()), data)[0]
    for unit in (1e-9, 1e9):
        again = both(student.WhiteningFlow(unit * data, returns=handle()), unit * data)[0]
        assert_close(again, z, 1e-8, what="the whitened data in another unit")


@property_of("whitening-flow", "An affine map has no bounds: points far from the data are mapped by it too.")
def test_whitening_far_points(student, rng):
    data, x = correlated(50, 3, rng), 1e6 * randn(5, 3, rng=rng)
    flow = student.WhiteningFlow(data, returns=handle())
    z = both(flow, x)[0]
    assert_close(back(flow, z)[0] / 1e6, x / 1e6, 1e-9, what="inverse(forward(x)), in millions,")
