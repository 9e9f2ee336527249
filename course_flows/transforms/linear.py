"""Linear flows ``z = W x + b`` on vectors; `LULinear` and `QRLinear` are in `course_flows.transforms.factored`.

| class | parameters | forward | inverse | log-determinant |
| --- | --- | --- | --- | --- |
| `Permutation` | 0 | O(D) | O(D) | 0 |
| `Diagonal` | 2 D | O(D) | O(D) | O(D) |
| `Triangular` | D(D+3)/2 | O(D²) | O(D²) | O(D) |
| `LULinear` | D(D+1) | O(D²) | O(D²) | O(D) |
| `QRLinear` | D(D+3)/2 + K D | O(KD + D²) | O(KD + D²) | O(D) |
| `DenseLinear` | D(D+1) | O(D²) | O(D³) | O(D³) |

Costs are for one point; those that do not depend on the point (O(D³) in `DenseLinear`) are paid once a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_flows.calls import has_values
from course_flows.transforms.base import Transform
from course_flows.transforms.triangles import pack_triangle, solve_rows, unpack_triangle

__all__ = ["DenseLinear", "Diagonal", "Linear", "Permutation", "Triangular", "checked_matrix"]


class Permutation(Transform):
    """Reorder the coordinates: ``z_i = x_{order[i]}``. The log-determinant is 0; no arithmetic, O(D) copies.

    Arguments:
        order: each of 0 … D−1 exactly once. Kept in a buffer, so that a saved flow keeps its order.

    >>> Permutation([2, 0, 1])(torch.tensor([10.0, 20.0, 30.0]))[0]
    tensor([30., 10., 20.])
    """

    order: Tensor
    inverse_order: Tensor

    def __init__(self, order: Sequence[int] | Tensor) -> None:
        super().__init__()
        order = torch.as_tensor(order)
        whole = order.dim() == 1 and not order.is_floating_point()
        if not whole or not torch.equal(order.sort().values, torch.arange(len(order))):
            raise ValueError(f"Permutation expects each of 0 to D-1 once, found {order.tolist()}")
        self.register_buffer("order", order)
        self.register_buffer("inverse_order", order.argsort())

    @classmethod
    def reversal(cls, features: int) -> Permutation:
        """Return the permutation that reverses the order of `features` coordinates."""
        return cls(torch.arange(features - 1, -1, -1))

    @classmethod
    def random(cls, features: int, seed: int = 0) -> Permutation:
        """Return a random permutation; the same `seed` gives the same one."""
        return cls(torch.randperm(features, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(x, len(self.order))
        return x.index_select(-1, self.order), self.zeros_like_batch(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(z, len(self.order))
        return z.index_select(-1, self.inverse_order), self.zeros_like_batch(z)

    def extra_repr(self) -> str:
        return f"features={len(self.order)}"


class Diagonal(Transform):
    r"""Scale and shift each coordinate: :math:`z_i = e^{s_i} x_i + b_i`, log-determinant :math:`\sum_i s_i`. O(D).

    Starts as the identity. Parameters: ``log_scale`` :math:`s` and ``shift`` :math:`b`, each ``(D,)``.

    Arguments:
        features: D.
        shift: False for a scaling alone, :math:`z_i = e^{s_i} x_i`, the last layer of NICE (2015, section 3.3).
    """

    def __init__(self, features: int, shift: bool = True) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features)) if shift else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(x, len(self.log_scale))
        z = x * self.log_scale.exp()
        return z if self.shift is None else z + self.shift, self.log_scale.sum().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(z, len(self.log_scale))
        x = (z if self.shift is None else z - self.shift) * (-self.log_scale).exp()
        return x, -self.log_scale.sum().expand(z.shape[:-1])

    def weight(self) -> Tensor:
        """Return the matrix W, ``(D, D)``."""
        return self.log_scale.exp().diag()

    def extra_repr(self) -> str:
        return f"features={len(self.log_scale)}, shift={self.shift is not None}"


class Linear(Transform):
    """What every dense linear flow shares: ``z = W x + b`` and the checks of its input.

    Arguments:
        features: D.
        bias: False for ``z = W x``.
    """

    def __init__(self, features: int, bias: bool = True) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"{type(self).__name__} expects at least 1 feature, found {features}")
        self.features = features
        self.bias = nn.Parameter(torch.zeros(features)) if bias else None

    def set_bias(self, bias: Tensor | None) -> None:
        """Overwrite the bias with ``bias (D,)``; None leaves it."""
        if bias is not None and self.bias is not None:
            bias = torch.as_tensor(bias)
            if bias.shape != self.bias.shape:
                raise ValueError(
                    f"{type(self).__name__} expects a bias of shape ({self.features},), found {tuple(bias.shape)}"
                )
            with torch.no_grad():
                self.bias.copy_(bias)

    def weight(self) -> Tensor:
        """Return the matrix W, ``(D, D)``."""
        raise NotImplementedError

    def log_abs_det(self) -> Tensor:
        """Return log|det W|, one number."""
        raise NotImplementedError

    def multiply(self, x: Tensor) -> Tensor:
        """Return W applied to each row of ``x (*batch, D)``."""
        return nn.functional.linear(x, self.weight())

    def solve(self, y: Tensor) -> Tensor:
        """Return W⁻¹ applied to each row of ``y (*batch, D)``."""
        raise NotImplementedError

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(x, self.features)
        z = self.multiply(x)
        return z if self.bias is None else z + self.bias, self.log_abs_det().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(z, self.features)
        return self.solve(z if self.bias is None else z - self.bias), -self.log_abs_det().expand(z.shape[:-1])

    def extra_repr(self) -> str:
        return f"features={self.features}"


def checked_matrix(matrix: Tensor, owner: str) -> Tensor:
    """Return a float copy of a square, finite, invertible matrix or say what is wrong with it."""
    matrix = torch.as_tensor(matrix).detach().clone()
    if not matrix.is_floating_point():
        matrix = matrix.to(torch.get_default_dtype())
    if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"{owner} expects a square matrix, found shape {tuple(matrix.shape)}")
    if not torch.isfinite(matrix).all():
        raise ValueError(f"{owner} expects finite numbers in its matrix, found NaN or infinity")
    largest, smallest = torch.linalg.svdvals(matrix)[[0, -1]].tolist()
    if smallest <= torch.finfo(matrix.dtype).eps * len(matrix) * largest:
        raise ValueError(
            f"{owner} expects an invertible matrix, found a singular one "
            f"(smallest singular value {smallest:.1e}, largest {largest:.1e})"
        )
    return matrix


class DenseLinear(Linear):
    r""":math:`z = W x + b` with a free matrix :math:`W`: nothing keeps it away from singular.

    Forward O(D²) a point; log-determinant and inverse O(D³) a batch (an LU factorization each time). Starts at the
    identity. A singular ``W`` raises ValueError in both directions, when it is met.
    """

    def __init__(self, features: int, bias: bool = True) -> None:
        super().__init__(features, bias)
        self.matrix = nn.Parameter(torch.eye(features))

    @classmethod
    def from_matrix(cls, matrix: Tensor, bias: Tensor | None = None) -> DenseLinear:
        """Start at a given invertible ``matrix (D, D)``."""
        matrix = checked_matrix(matrix, cls.__name__)
        flow = cls(len(matrix)).to(matrix)
        flow.matrix = nn.Parameter(matrix)
        flow.set_bias(bias)
        return flow

    def weight(self) -> Tensor:
        return self.matrix

    def log_abs_det(self) -> Tensor:
        log_abs_det = torch.linalg.slogdet(self.matrix).logabsdet
        if has_values(log_abs_det) and not torch.isfinite(log_abs_det):
            raise ValueError(f"DenseLinear expects an invertible matrix, found log|det W| = {log_abs_det.item()}")
        return log_abs_det

    def solve(self, y: Tensor) -> Tensor:
        try:
            return torch.linalg.solve(self.matrix.mT, y.reshape(-1, self.features), left=False).reshape(y.shape)
        except torch.linalg.LinAlgError as error:
            raise ValueError("DenseLinear expects an invertible matrix, found a singular one") from error


class Triangular(Linear):
    r""":math:`z = T x + b` with :math:`T` lower (or upper) triangular and a positive diagonal :math:`e^{s}`.

    Log-determinant :math:`\sum_i s_i`, O(D); forward and inverse O(D²) a point (substitution, no matrix inverse).
    Starts at the identity.
    """

    def __init__(self, features: int, lower: bool = True, bias: bool = True) -> None:
        super().__init__(features, bias)
        self.lower = lower
        self.log_diagonal = nn.Parameter(torch.zeros(features))
        self.off_diagonal = nn.Parameter(torch.zeros(features * (features - 1) // 2))

    @classmethod
    def from_matrix(cls, matrix: Tensor, bias: Tensor | None = None) -> Triangular:
        """Start at a given triangular ``matrix (D, D)`` with a positive diagonal."""
        matrix = checked_matrix(matrix, cls.__name__)
        lower = bool(torch.equal(matrix, matrix.tril()))
        if not lower and not torch.equal(matrix, matrix.triu()):
            raise ValueError("Triangular expects a triangular matrix, found entries on both sides of the diagonal")
        if not (matrix.diagonal() > 0).all():
            raise ValueError(f"Triangular expects a positive diagonal, found {matrix.diagonal().tolist()}")
        flow = cls(len(matrix), lower).to(matrix)
        with torch.no_grad():
            flow.log_diagonal.copy_(matrix.diagonal().log())
            flow.off_diagonal.copy_(pack_triangle(matrix, upper=not lower))
        flow.set_bias(bias)
        return flow

    def weight(self) -> Tensor:
        return unpack_triangle(self.off_diagonal, self.log_diagonal.exp(), upper=not self.lower)

    def log_abs_det(self) -> Tensor:
        return self.log_diagonal.sum()

    def solve(self, y: Tensor) -> Tensor:
        return solve_rows(self.weight(), y, upper=not self.lower)

    def extra_repr(self) -> str:
        return f"features={self.features}, lower={self.lower}"
