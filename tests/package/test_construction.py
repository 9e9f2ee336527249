"""What a constructor fixes: where a transform starts, what it refuses, what travels with its state."""

import math

import pytest
import torch
from constructors import matrix
from torch.distributions import transforms as torch_transforms

from course_flows import Compose, Flow, Inverse
from course_flows.distributions import StandardNormal
from course_flows.transforms import (
    AffineCoupling,
    DenseLinear,
    Diagonal,
    LeakyReLU,
    Logit,
    LULinear,
    MonotoneSpline,
    Permutation,
    QRLinear,
    TorchTransform,
    Triangular,
)


@pytest.mark.parametrize(
    ("saved", "other"),
    [
        (lambda: Permutation.random(6, seed=1), lambda: Permutation.random(6, seed=2)),
        (lambda: LULinear(6, seed=1), lambda: LULinear(6, seed=2)),
        (lambda: LULinear.from_matrix(matrix(6).float()), lambda: LULinear(6)),
        (lambda: QRLinear.from_matrix(matrix(6).float()), lambda: QRLinear(6, reflections=5, seed=3)),
        (lambda: AffineCoupling.mlp(6, (8,)), lambda: AffineCoupling.mlp(6, (8,), flip=True)),
    ],
    ids=["Permutation", "LULinear", "LULinear.from_matrix", "QRLinear.from_matrix", "AffineCoupling"],
)
def test_state_dict_carries_what_was_fixed_at_construction(saved, other):
    """Orders, signs and masks drawn at construction travel with the parameters: both directions are restored."""
    original, restored, x = saved(), other(), torch.randn(10, 6)
    with torch.no_grad():
        for p in original.parameters():
            p.add_(0.3 * torch.randn_like(p))
    assert not torch.equal(original(x)[0], restored(x)[0])
    restored.load_state_dict(original.state_dict())
    for a, b in zip((*original(x), *original.inverse(x)), (*restored(x), *restored.inverse(x)), strict=True):
        assert torch.equal(a, b)


def test_permutations_do_what_their_names_say():
    x = torch.arange(5.0)
    assert Permutation.reversal(5)(x)[0].tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
    orders = [tuple(Permutation.random(20, seed=s).order.tolist()) for s in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("kind", [LULinear, QRLinear])
def test_the_seed_alone_decides_where_training_starts(kind):
    torch.manual_seed(1)
    first = kind(6, seed=4).weight()
    torch.manual_seed(2)
    assert torch.equal(kind(6, seed=4).weight(), first)
    assert not torch.equal(kind(6, seed=5).weight(), first)
    torch.testing.assert_close(first @ first.mT, torch.eye(6), rtol=0, atol=1e-5)


def test_what_starts_as_the_identity():
    x = torch.randn(20, 4)
    for transform in (
        Diagonal(4),
        Triangular(4),
        Triangular(4, lower=False),
        DenseLinear(4),
        MonotoneSpline(4),
        AffineCoupling.mlp(4),
        QRLinear(4, reflections=0),
    ):
        z, log_det = transform(x)
        torch.testing.assert_close(z, x, rtol=0, atol=1e-6)
        torch.testing.assert_close(log_det, torch.zeros(20), rtol=0, atol=1e-5)


def test_diagonal_weight_is_its_matrix():
    flow = Diagonal(3).double()
    with torch.no_grad():
        flow.log_scale.copy_(torch.tensor([0.5, -1.0, 2.0]))
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(flow(x)[0], x @ flow.weight().mT, rtol=0, atol=1e-13)


def test_from_matrix_takes_a_bias_dtype_and_copy():
    lower = torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    bias = torch.tensor([1.0, -1.0], dtype=torch.float64)
    for kind in (Triangular, LULinear, QRLinear, DenseLinear):
        given = lower.clone()
        flow = kind.from_matrix(given, bias)
        assert {p.dtype for p in flow.parameters()} == {torch.float64}
        with torch.no_grad():
            for p in flow.parameters():
                p.add_(1.0)
        assert torch.equal(given, lower)
        assert torch.equal(kind.from_matrix(lower, bias).bias, bias)


def test_ill_conditioned_is_not_singular():
    w = torch.tensor([1.0, 1e-9], dtype=torch.float64).diag()
    for kind in (Triangular, LULinear, QRLinear, DenseLinear):
        torch.testing.assert_close(kind.from_matrix(w).weight(), w, rtol=1e-12, atol=0)
    rounded = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    with pytest.raises(ValueError, match="singular"):
        DenseLinear.from_matrix(rounded)


def test_sizes_and_counts_are_checked():
    with pytest.raises(ValueError, match="LULinear expects at least 1 feature, found 0"):
        LULinear(0)
    with pytest.raises(ValueError, match="at least 0, found -1"):
        QRLinear(3, reflections=-1)
    with pytest.raises(ValueError, match="found bins=1"):
        MonotoneSpline(3, bins=1)
    with pytest.raises(ValueError, match="bound > 0"):
        MonotoneSpline(3, bound=0.0)
    for alpha in (-0.1, 0.5):
        with pytest.raises(ValueError, match=r"0 <= alpha < 0\.5"):
            Logit(alpha)
    with pytest.raises(ValueError, match="positive sizes"):
        StandardNormal((3, 0))
    with pytest.raises(ValueError, match="keeps some"):
        AffineCoupling([False, False], torch.nn.Linear(1, 2))
    with pytest.raises(TypeError, match="Inverse expects a Transform, found Linear"):
        Inverse(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="acts on events of 1 dimensions, found event_ndim=0"):
        TorchTransform(torch_transforms.IndependentTransform(torch_transforms.ExpTransform(), 1), event_ndim=0)
    assert len(Compose(Diagonal(2), Diagonal(2))) == 2


@pytest.mark.parametrize("bad", [torch.zeros(5, 3), torch.zeros(())], ids=["width", "scalar"])
@pytest.mark.parametrize(
    "build",
    [
        lambda: Permutation([1, 0]),
        lambda: Diagonal(2),
        lambda: Triangular(2),
        lambda: LULinear(2),
        lambda: MonotoneSpline(2),
        lambda: AffineCoupling.mlp(2),
    ],
)
def test_wrong_shapes_are_said_by_every_vector_transform(build, bad):
    for direction in (build(), build().inverse):
        with pytest.raises(ValueError, match=r"shape \(\*batch, 2\)"):
            direction(bad)


def test_torch_transform_with_an_event_of_its_own():
    inner = torch_transforms.IndependentTransform(torch_transforms.AffineTransform(0.0, 3.0), 1)
    _, log_det = TorchTransform(inner, event_ndim=2)(torch.zeros(5, 2, 4))
    torch.testing.assert_close(log_det, torch.full((5,), 8 * math.log(3.0)))


def test_householder_from_matrix_of_any_scale():
    for scale in (1e-25, 1e25):
        w = scale * matrix(4).float()
        torch.testing.assert_close(QRLinear.from_matrix(w).weight() / scale, w / scale, rtol=0, atol=1e-5)


def test_from_matrix_says_what_is_wrong_with_the_bias():
    for bias in (torch.tensor(3.0), torch.ones(1), torch.zeros(3)):
        with pytest.raises(ValueError, match=r"bias of shape \(2,\)"):
            LULinear.from_matrix(torch.eye(2), bias)
    assert LULinear.from_matrix([[0, 2], [1, 0]], [1.0, 2.0]).weight().tolist() == [[0.0, 2.0], [1.0, 0.0]]
    with pytest.raises(ValueError, match="square matrix"):
        LULinear.from_matrix(torch.zeros(0, 0))


def test_shapes_that_change_are_refused():
    stick = TorchTransform(torch_transforms.StickBreakingTransform())
    with pytest.raises(ValueError, match="changes the shape"):
        Flow(stick, StandardNormal(2)).log_prob(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"\(\*batch, 2\), found \(3, 5\)"):
        StandardNormal(2).log_prob(torch.zeros(3, 5))


def test_parts_of_a_composition():
    f = Compose(Diagonal(2), Permutation([1, 0]), LeakyReLU())
    x = torch.randn(3, 2)
    assert torch.equal(f[:2](x)[0], x.flip(1))
    assert isinstance(f[-1], LeakyReLU)
