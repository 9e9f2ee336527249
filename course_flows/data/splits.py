"""The documented way from a table to what density models are compared on: noise, three parts, one scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_flows.data.source import VARIABLE, DataError, data_folder, find_file, read_arrays
from course_flows.data.tabular import TabularData, load_tabular

__all__ = ["PATCHES", "TabularSplit", "Units", "load_split", "split_table"]

PATCHES, PATCHES_FILE = "bsds300", "patches8_gray.npz"
SPLIT_SEED = 42
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Units:
    """The way back from standardized values to the units of their table: ``mean + deviation * value``.

    Attributes:
        columns: the D column names.
        mean, deviation: float64 ``(D,)``.
    """

    columns: tuple[str, ...]
    mean: Tensor
    deviation: Tensor

    @property
    def log_scale(self) -> float:
        """The sum of the logarithms of the deviations: a log-density in the units of the table is lower by it."""
        return self.deviation.log().sum().item()

    def restore(self, values: Tensor) -> Tensor:
        """Return standardized values ``(*batch, D)`` in the units of the table, in float64 on the CPU."""
        return self.mean + self.deviation * values.detach().cpu().double()

    def agrees_with(self, other: Units) -> bool:
        """Whether two are the same up to rounding, which differs between processors."""
        if self.columns != other.columns:
            return False
        apart = torch.maximum((self.mean - other.mean).abs(), (self.deviation - other.deviation).abs())
        return bool((apart <= 1e-9 * self.deviation).all())

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` undoes it."""
        return {"columns": list(self.columns), "mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Units:
        """Make units from what `to_json` gave."""
        mean, deviation = (torch.tensor(content[name], dtype=torch.float64) for name in ("mean", "deviation"))
        return cls(tuple(content["columns"]), mean, deviation)


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
        left_out: how many rows of the source are in no part, since a value was missing.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    mean: Tensor
    deviation: Tensor
    noise: Tensor
    columns: tuple[str, ...]
    name: str
    left_out: int = 0

    @property
    def units(self) -> Units:
        """What turns the parts into the units of the table."""
        return Units(self.columns, self.mean, self.deviation)


def load_split(name: str, data_dir: str | Path | None = None, drop_missing: bool = False) -> TabularSplit:
    """Load a table in its three parts.

    Arguments:
        name: of a table, see `course_flows.data.load_tabular`; it is split by `split_table`. Or ``bsds300``: gray
            patches of 8 × 8 pixels of the photographs of BSDS300, which come in three parts of different photographs
            in a file ``patches8_gray.npz``, uint8 arrays ``train``, ``validation``, ``test`` of shape (N, 8, 8). They
            get uniform noise as wide as a gray level and lie in [0, 1) then; each patch loses its mean, and its last
            pixel, which that determines: 63 columns, not standardized.
        data_dir: folder of the files; default: the variable COURSE_FLOWS_DATA.
        drop_missing: leave out rows with a missing value.

    Raises DataError where the table is not there, is damaged, or cannot be split.

    Source: for the patches G. Papamakarios, T. Pavlakou and I. Murray, *Masked autoregressive flow for density
    estimation* (2017), appendix D, after D. Zoran and Y. Weiss (2011).
    """
    return _patches(data_dir) if name == PATCHES else split_table(load_tabular(name, data_dir, drop_missing))


def split_table(data: TabularData, seed: int = SPLIT_SEED) -> TabularSplit:
    """Split a table for density estimation.

    1. Rows are shuffled with `seed`.
    2. A column in which more than a twentieth of the rows repeat a value, or one value stands in more than 1 of 200
       rows (and in more than 2), was rounded or cut off by somebody, and a density could rise without bound on these
       values. It gets uniform noise as wide as the distance between a value and its nearest neighbor: the median of it
       over the rows. What repeats more rarely is left alone; see ``noise / deviation``.
    3. A tenth of the rows, the last, is for testing; a tenth of the rest, the last, for validation.
    4. Each column is standardized by mean and standard deviation of the first two parts together.

    Rows that occur several times in the table may come into several parts.

    Raises DataError for fewer than 20 rows, for values that are not finite and for columns that hold one value only.

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
    if bad := int((~data.x.isfinite()).any(dim=1).sum()):
        raise DataError(f"{data.name} has {bad} of {count} rows with values that are not finite: leave them out")
    generator = torch.Generator().manual_seed(seed)
    x = data.x[torch.randperm(count, generator=generator)]
    noise = torch.stack([noise_width(column, name) for column, name in zip(x.T, data.columns)])
    x = x + noise * torch.rand(x.shape, generator=generator, dtype=x.dtype)
    held_out = count // 10
    known, test = x[: count - held_out], x[count - held_out :]
    mean, deviation = known.mean(dim=0), known.std(dim=0, correction=0)
    train, validation = ((part - mean) / deviation for part in known.tensor_split([len(known) - len(known) // 10]))
    return TabularSplit(
        train,
        validation,
        (test - mean) / deviation,
        mean,
        deviation,
        noise,
        data.columns,
        data.name,
        data.left_out,
    )


def noise_width(column: Tensor, name: str = "the column") -> Tensor:
    """Return how wide the noise of a column ``(N,)`` is: the usual step of one that was rounded, else 0."""
    values, counts = column.unique(return_counts=True)
    steps = values.diff()
    apart = steps > 1e-12 * values[1:].abs()  # smaller ones are the rounding of float64
    steps = steps[apart]
    if not len(steps):
        raise DataError(f"{name} holds the one value {values[0].item():g}: leave it out")
    group = torch.cat([torch.zeros(1, dtype=torch.long), apart.cumsum(0)])
    rows = torch.zeros(len(steps) + 1, dtype=torch.long).index_add_(0, group, counts)
    repeats, most = len(column) - len(rows), int(rows.max())
    if 20 * repeats <= len(column) and most <= max(2, len(column) // 200):
        return torch.zeros_like(values[0])
    end = steps.new_full((1,), torch.inf)
    nearest = torch.minimum(torch.cat([end, steps]), torch.cat([steps, end]))
    return nearest.repeat_interleave(rows).median()


def _patches(data_dir: str | Path | None, seed: int = 42) -> TabularSplit:
    """Read the patches and prepare them as `load_split` says; `seed` is that of the noise."""
    folder = data_folder(data_dir)
    path = find_file(folder, PATCHES_FILE, PATCHES) if folder else None
    if path is None:
        looked = f"in {folder}" if folder else "nowhere, since no folder was named"
        raise DataError(
            f"{PATCHES} was not found (looked {looked}): put {PATCHES_FILE} into a folder and name it with data_dir "
            f"or {VARIABLE}"
        )
    generator = torch.Generator().manual_seed(seed)
    train, validation, test = (_rows_of_patches(patches, generator) for patches in _read_patches(path))
    columns = tuple(f"r{i}c{j}" for i in range(8) for j in range(8))[:-1]
    one = torch.ones(63, dtype=torch.float64)
    return TabularSplit(train, validation, test, 0 * one, one, one / 256, columns, PATCHES)


def _read_patches(path: Path) -> list[Tensor]:
    arrays = read_arrays(path)
    found = {key: f"{arrays[key].dtype} of shape {arrays[key].shape}" for key in PARTS if key in arrays}
    if any(key not in found or arrays[key].dtype != np.uint8 or arrays[key].shape[1:] != (8, 8) for key in PARTS):
        raise DataError(f"{path}: expected uint8 arrays {', '.join(PARTS)} of shape (N, 8, 8), found {found}")
    return [torch.from_numpy(arrays[key]) for key in PARTS]


def _rows_of_patches(patches: Tensor, generator: torch.Generator) -> Tensor:
    x = patches.flatten(1).double()
    x = (x + torch.rand(x.shape, generator=generator, dtype=x.dtype)) / 256
    return (x - x.mean(dim=1, keepdim=True))[:, :-1]
