"""Triangular matrices whose free entries are stored in a vector, and substitution with them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pack_triangle", "solve_rows", "triangle_indices", "unpack_triangle"]


def triangle_indices(features: int, upper: bool) -> tuple[Tensor, Tensor]:
    """Return row and column indices of the entries strictly above (or below) the diagonal."""
    rows, columns = torch.triu_indices(features, features, 1) if upper else torch.tril_indices(features, features, -1)
    return rows, columns


def pack_triangle(matrix: Tensor, *, upper: bool) -> Tensor:
    """Return the entries strictly above (or below) the diagonal of ``(D, D)`` as ``(D(D-1)/2,)``."""
    return matrix[triangle_indices(len(matrix), upper)]


def unpack_triangle(values: Tensor, diagonal: Tensor, *, upper: bool) -> Tensor:
    """Return triangular matrices ``(*batch, D, D)`` with the given diagonals ``(*batch, D)`` and packed entries.

    No parameter is idle: the entries are ``(*batch, D(D-1)/2)``.
    """
    features = diagonal.shape[-1]
    rows, columns = triangle_indices(features, upper)
    places = (rows * features + columns).to(values.device)
    return diagonal.diag_embed().flatten(-2).index_copy(-1, places, values).unflatten(-1, (features, features))


def solve_rows(matrix: Tensor, rows: Tensor, *, upper: bool, unit: bool = False) -> Tensor:
    """Solve ``matrix @ x = row`` for each row of ``(*batch, D)`` by substitution, O(D²) a row."""
    flat = rows.reshape(-1, rows.shape[-1])
    solved = torch.linalg.solve_triangular(matrix.mT, flat, upper=not upper, left=False, unitriangular=unit)
    return solved.reshape(rows.shape)
