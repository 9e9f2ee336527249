"""Linear flows whose matrix is a product of factors that are easy to invert: `LULinear` and `QRLinear`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_flows.transforms.linear import Linear, checked_matrix
from course_flows.transforms.triangles import pack_triangle, solve_rows, unpack_triangle

__all__ = ["LULinear", "QRLinear", "lu_inverses", "lu_weights"]


class LULinear(Linear):
    r""":math:`z = P L U x + b`: never singular, inverse by two substitutions, log-determinant from a diagonal.

    :math:`P` is a fixed permutation (buffer), :math:`L` lower triangular with ones on its diagonal,
    :math:`U` upper triangular with diagonal :math:`\sigma_i e^{s_i}`, where the signs :math:`\sigma` are fixed
    (buffer): :math:`\log|\det W| = \sum_i s_i`. Forward and inverse O(D²) a point, log-determinant O(D).

    Starts at a random orthogonal matrix drawn with `seed`, or at the matrix given to `from_matrix`; decomposed once, it
    leaves its factors to training, which cannot change the sign of :math:`\det W`.

    Source: D. P. Kingma and P. Dhariwal, *Glow* (2018), section 3.2.
    """

    permutation: Tensor
    signs: Tensor

    def __init__(self, features: int, seed: int = 0, bias: bool = True) -> None:
        super().__init__(features, bias)
        generator = torch.Generator().manual_seed(seed)
        orthogonal = torch.linalg.qr(torch.randn(features, features, dtype=torch.float64, generator=generator)).Q
        for name in ("permutation", "signs"):
            self.register_buffer(name, torch.empty(0))
        self._decompose(orthogonal.to(torch.get_default_dtype()))

    @classmethod
    def from_matrix(cls, matrix: Tensor, bias: Tensor | None = None) -> LULinear:
        """Start at a given invertible ``matrix (D, D)``."""
        matrix = checked_matrix(matrix, cls.__name__)
        flow = cls(len(matrix)).to(matrix)
        flow._decompose(matrix)
        flow.set_bias(bias)
        return flow

    def _decompose(self, matrix: Tensor) -> None:
        permutation, lower, upper = torch.linalg.lu(matrix)
        self.permutation = permutation.argmax(dim=1)  # P y = y[permutation]
        self.signs = upper.diagonal().sign()
        self.lower = nn.Parameter(pack_triangle(lower, upper=False))
        self.upper = nn.Parameter(pack_triangle(upper, upper=True))
        self.log_diagonal = nn.Parameter(upper.diagonal().abs().log())

    def _factors(self) -> tuple[Tensor, Tensor]:
        lower = unpack_triangle(self.lower, torch.ones_like(self.log_diagonal), upper=False)
        return lower, unpack_triangle(self.upper, self.signs * self.log_diagonal.exp(), upper=True)

    def weight(self) -> Tensor:
        lower, upper = self._factors()
        return (lower @ upper)[self.permutation]

    def log_abs_det(self) -> Tensor:
        return self.log_diagonal.sum()

    def multiply(self, x: Tensor) -> Tensor:
        lower, upper = self._factors()
        y = nn.functional.linear(nn.functional.linear(x, upper), lower)
        return y.index_select(-1, self.permutation)

    def solve(self, y: Tensor) -> Tensor:
        lower, upper = self._factors()
        y = y.index_select(-1, self.permutation.argsort())
        return solve_rows(upper, solve_rows(lower, y, upper=False, unit=True), upper=True)


def lu_weights(flows: Sequence[LULinear]) -> Tensor:
    """Return the matrices of K flows of equal size, ``(K, D, D)``: the same as `LULinear.weight`, as one batch."""
    lower, upper = _stacked_factors(flows)
    order = torch.stack([flow.permutation for flow in flows])
    return (lower @ upper).gather(1, order[..., None].expand_as(lower))


def lu_inverses(flows: Sequence[LULinear]) -> Tensor:
    """Return the inverses of the matrices of K flows of equal size, ``(K, D, D)``."""
    lower, upper = _stacked_factors(flows)
    permuted = torch.stack([torch.eye(flow.features, out=torch.empty_like(upper[0])) for flow in flows])
    order = torch.stack([flow.permutation for flow in flows])
    permuted = permuted.gather(2, order[:, None].expand_as(lower))
    half = torch.linalg.solve_triangular(lower, permuted, upper=False, unitriangular=True)
    return torch.linalg.solve_triangular(upper, half, upper=True)


def _stacked_factors(flows: Sequence[LULinear]) -> tuple[Tensor, Tensor]:
    signs = torch.stack([flow.signs for flow in flows])
    diagonal = signs * torch.stack([flow.log_diagonal for flow in flows]).exp()
    lower = unpack_triangle(torch.stack([flow.lower for flow in flows]), torch.ones_like(diagonal), upper=False)
    return lower, unpack_triangle(torch.stack([flow.upper for flow in flows]), diagonal, upper=True)


class QRLinear(Linear):
    r""":math:`z = Q R x + b`: an orthogonal matrix times an upper triangular one with a positive diagonal.

    :math:`Q = H_1 \cdots H_K S` is a product of Householder reflections
    :math:`H_k = I - 2 v_k v_k^\top / v_k^\top v_k` and a fixed diagonal :math:`S` of signs (buffer), :math:`R` has
    the diagonal :math:`e^{s_i}`: :math:`\log|\det W| = \sum_i s_i`. The number of reflections and the signs are
    fixed, so training cannot change the sign of :math:`\det W`.

    Forward and inverse O(KD + D²) a point, log-determinant O(D). Starts at ``K`` random reflections drawn with
    `seed` (default K = D) and R = I, or at the matrix given to `from_matrix` (K = D − 1). The K reflections are
    applied one after the other, so that a large K is slow on any hardware. A vector must not become zero.

    Source: J. M. Tomczak and M. Welling, *Improving variational auto-encoders using Householder flow* (2016);
    E. Hoogeboom, R. van den Berg and M. Welling, *Emerging convolutions for generative normalizing flows* (2019).
    """

    signs: Tensor

    def __init__(self, features: int, reflections: int | None = None, seed: int = 0, bias: bool = True) -> None:
        super().__init__(features, bias)
        count = features if reflections is None else reflections
        if count < 0:
            raise ValueError(f"QRLinear expects a number of reflections of at least 0, found {count}")
        generator = torch.Generator().manual_seed(seed)
        self.vectors = nn.Parameter(torch.randn(count, features, generator=generator))
        self.upper = nn.Parameter(torch.zeros(features * (features - 1) // 2))
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.register_buffer("signs", torch.ones(features))

    @classmethod
    def from_matrix(cls, matrix: Tensor, bias: Tensor | None = None) -> QRLinear:
        """Start at a given invertible ``matrix (D, D)``."""
        matrix = checked_matrix(matrix, cls.__name__)
        features = len(matrix)
        flow = cls(features, features - 1).to(matrix)
        with torch.no_grad():
            for j in range(features - 1):  # reflect column j onto the axis j: zeros below the diagonal
                v = matrix[:, j] / matrix[j:, j].abs().max()  # squares must not overflow
                v[:j] = 0.0
                v[j] += v.norm().copysign(v[j])
                v = v / v.norm()
                flow.vectors[j] = v
                matrix = matrix - (2.0 / v.dot(v)) * torch.outer(v, v @ matrix)
            flow.signs.copy_(matrix.diagonal().sign())
            flow.upper.copy_(pack_triangle(flow.signs[:, None] * matrix, upper=True))
            flow.log_diagonal.copy_(matrix.diagonal().abs().log())
        flow.set_bias(bias)
        return flow

    def orthogonal(self) -> Tensor:
        """Return Q, ``(D, D)``."""
        q = self.signs.diag()
        for v in self.vectors.flip(0):
            q = q - (2.0 / v.dot(v)) * torch.outer(v, v @ q)
        return q

    def triangular(self) -> Tensor:
        """Return R, ``(D, D)``, upper triangular with a positive diagonal."""
        return unpack_triangle(self.upper, self.log_diagonal.exp(), upper=True)

    def weight(self) -> Tensor:
        return self.orthogonal() @ self.triangular()

    def log_abs_det(self) -> Tensor:
        return self.log_diagonal.sum()

    def multiply(self, x: Tensor) -> Tensor:
        y = nn.functional.linear(x, self.triangular()) * self.signs
        for v in self.vectors.flip(0):
            y = _reflect(y, v)
        return y

    def solve(self, y: Tensor) -> Tensor:
        for v in self.vectors:
            y = _reflect(y, v)
        return solve_rows(self.triangular(), y * self.signs, upper=True)

    def extra_repr(self) -> str:
        return f"features={self.features}, reflections={len(self.vectors)}"


def _reflect(rows: Tensor, vector: Tensor) -> Tensor:
    """Reflect each row of ``(*batch, D)`` in the hyperplane orthogonal to ``vector (D,)``, O(D) a row."""
    return rows - (2.0 / vector.dot(vector)) * (rows @ vector)[..., None] * vector
