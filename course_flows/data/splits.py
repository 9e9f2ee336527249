"""The documented way from a table to what density models are compared on: noise, three parts, one scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_flows.data.source import DataError
from course_flows.data.tabular import TabularData

__all__ = ["TabularSplit", "split_table"]


@dataclass(frozen=True)
class TabularSplit:
    """A table in three parts, in units of its own standard deviations.

    Attributes:
        train, validation, test: float64 ``(N, D)`` each.
        mean, deviation: ``(D,)`` of train and validation together, in the units of the table: its rows, with their
            noise, are ``mean + deviation * part``. A log-density in the units of the table is lower by
            ``deviation.log().sum()``.
        noise: ``(D,)`` width of the noise that was added, in the units of the table; 0 where none was.
        columns: the names of the columns that are left.
        name: of the table.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    mean: Tensor
    deviation: Tensor
    noise: Tensor
    columns: tuple[str, ...]
    name: str


def split_table(data: TabularData, seed: int = 42) -> TabularSplit:
    """Split a table for density estimation.

    1. Rows are shuffled with `seed`.
    2. A column in which more than a twentieth of the rows repeat a value was rounded by somebody, and a density could
       rise without bound on its few values. It gets uniform noise as wide as the smallest step between two of them.
    3. A tenth of the rows, the last, is for testing; a tenth of the rest, the last, for validation.
    4. Each column is standardized by mean and standard deviation of the first two parts together.

    Raises DataError for fewer than 20 rows and for columns that hold one value only.

    Source: the shares and the standardization are those of G. Papamakarios, T. Pavlakou and I. Murray, *Masked
    autoregressive flow for density estimation* (2017), appendix D; the rule for the noise is this course's.

    >>> from course_flows.data import load_tabular
    >>> parts = split_table(load_tabular("wine"))
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (145, 16, 17)
    """
    count = len(data)
    if count < 20:
        raise DataError(f"{data.name} has {count} rows: at least 20 are needed for three parts")
    generator = torch.Generator().manual_seed(seed)
    x = data.x[torch.randperm(count, generator=generator)]
    noise = torch.stack([noise_width(column, name) for column, name in zip(x.T, data.columns)])
    x = x + noise * torch.rand(x.shape, generator=generator, dtype=x.dtype)
    held_out = count // 10
    known, test = x[: count - held_out], x[count - held_out :]
    mean, deviation = known.mean(dim=0), known.std(dim=0, correction=0)
    train, validation = ((part - mean) / deviation for part in known.tensor_split([len(known) - len(known) // 10]))
    return TabularSplit(train, validation, (test - mean) / deviation, mean, deviation, noise, data.columns, data.name)


def noise_width(column: Tensor, name: str = "the column") -> Tensor:
    """Return how wide the noise of a column ``(N,)`` is: the smallest step of one that was rounded, else 0."""
    values = column.unique()
    steps = values.diff()
    steps = steps[steps > 1e-12 * values[1:].abs()]  # smaller ones are the rounding of float64
    if not len(steps):
        raise DataError(f"{name} holds the one value {values[0].item():g}: leave it out")
    repeats = len(column) - len(steps) - 1
    return steps.min() if 20 * repeats > len(column) else torch.zeros_like(values[0])
