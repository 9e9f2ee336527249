"""What linear flows promise beyond the properties of every transform."""

from __future__ import annotations

import pytest
import torch
from constructors import matrix

from course_flows.transforms import DenseLinear, Diagonal, LULinear, Permutation, QRLinear, Triangular

FROM_MATRIX = pytest.mark.parametrize("kind", [DenseLinear, LULinear, QRLinear])


def numbers(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@FROM_MATRIX
@pytest.mark.parametrize("features", [1, 2, 5, 12])
def test_from_matrix_starts_at_the_matrix(kind, features):
    for sign in (1.0, -1.0):
        w = matrix(features)
        w[0] *= sign
        bias = torch.arange(features, dtype=torch.float64)
        flow = kind.from_matrix(w, bias)
        torch.testing.assert_close(flow.weight(), w, rtol=0, atol=1e-12)
        x = torch.randn(3, features, dtype=torch.float64)
        torch.testing.assert_close(flow(x)[0], x @ w.T + bias, rtol=0, atol=1e-12)
        expected = torch.linalg.slogdet(w).logabsdet
        torch.testing.assert_close(flow(x)[1], expected.expand(3), rtol=0, atol=1e-11)


@FROM_MATRIX
def test_from_matrix_takes_the_identity_and_triangles(kind):
    for w in (torch.eye(4), -torch.eye(4), torch.ones(4, 4).triu(), torch.ones(4, 4).tril(), torch.eye(4).flip(0)):
        torch.testing.assert_close(kind.from_matrix(w.double()).weight(), w.double(), rtol=0, atol=1e-14)


@FROM_MATRIX
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.ones(3, 3), "singular"),
        (torch.zeros(2, 2), "singular"),
        (torch.ones(2, 3), r"square matrix, found shape \(2, 3\)"),
        (torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), "finite"),
    ],
)
def test_from_matrix_refuses_in_words(kind, bad, words):
    with pytest.raises(ValueError, match=words):
        kind.from_matrix(bad)


def test_triangular_from_matrix():
    lower = matrix().tril(-1) + torch.tensor([0.5, 2.0, 3.0, 0.1], dtype=torch.float64).diag()
    for w in (lower, lower.mT):
        torch.testing.assert_close(Triangular.from_matrix(w).weight(), w, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match="both sides"):
        Triangular.from_matrix(matrix())
    with pytest.raises(ValueError, match="positive diagonal"):
        Triangular.from_matrix(-lower)


def test_dense_says_when_it_became_singular():
    flow = DenseLinear(2).double()
    with torch.no_grad():
        flow.matrix.copy_(torch.ones(2, 2))
    x = torch.zeros(1, 2, dtype=torch.float64)
    for direction in (flow, flow.inverse):
        with pytest.raises(ValueError, match="invertible matrix"):
            direction(x)


@pytest.mark.parametrize("kind", [LULinear, QRLinear])
def test_no_parameters_can_make_it_singular_or_flip_the_sign(kind):
    w = matrix()
    flow = kind.from_matrix(w)
    sign = torch.linalg.det(w).sign()
    for seed in range(50):
        torch.manual_seed(seed)
        with torch.no_grad():
            for p in flow.parameters():
                p.copy_(2 * torch.randn_like(p))
        assert torch.linalg.det(flow.weight()).sign() == sign


def test_householder_product_is_orthogonal():
    flow = QRLinear(6, reflections=4, seed=2).double()
    q = flow.orthogonal()
    torch.testing.assert_close(q @ q.mT, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-13)
    assert torch.linalg.det(q).item() == pytest.approx(1.0)
    assert torch.linalg.det(QRLinear(6, reflections=3).double().orthogonal()).item() == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("flow", "count"),
    [
        (Diagonal(7), 2 * 7),
        (Triangular(7), 7 * 10 // 2),
        (LULinear(7), 7 * 8),
        (QRLinear(7, 3), 7 * 10 // 2 + 3 * 7),
        (DenseLinear(7), 7 * 8),
    ],
)
def test_parameter_counts_of_the_table(flow, count):
    assert numbers(flow) == count


@pytest.mark.parametrize("bad", [[0, 0, 1], [1, 2, 3], [[0, 1]], [0.5, 1.0]])
def test_permutation_refuses_what_is_none(bad):
    with pytest.raises(ValueError, match="each of 0 to D-1 once"):
        Permutation(bad)


@pytest.mark.parametrize("flow", [Permutation([1, 0]), Diagonal(2), LULinear(2), QRLinear(2), DenseLinear(2)])
def test_wrong_shape_is_said(flow):
    for direction in (flow, flow.inverse):
        with pytest.raises(ValueError, match=r"shape \(\*batch, 2\), found \(5, 3\)"):
            direction(torch.zeros(5, 3))
