"""Tables of real numbers: small sets bundled with scikit-learn, and npz or CSV files from a folder."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_flows.data.source import VARIABLE, DataError, data_folder, read_arrays

__all__ = ["BUNDLED", "TabularData", "load_tabular", "table_names"]

BUNDLED = ("breast_cancer", "diabetes", "iris", "wine")


@dataclass(frozen=True)
class TabularData:
    """A table of real numbers.

    Attributes:
        x: float64 ``(N, D)`` in the order and units of the source.
        columns: the D column names.
        name: of the set.
        labels: int64 ``(N,)`` or None.
        left_out: how many rows of the source are not among them, since a value was missing.
    """

    x: Tensor
    columns: tuple[str, ...]
    name: str
    labels: Tensor | None = None
    left_out: int = 0

    def column(self, name: str) -> Tensor:
        """Return one column ``(N,)`` by its name."""
        if name not in self.columns:
            raise ValueError(f"{self.name} has the columns {', '.join(self.columns)}, found {name!r}")
        return self.x[:, self.columns.index(name)]

    def __len__(self) -> int:
        return len(self.x)


def load_tabular(name: str, data_dir: str | Path | None = None, drop_missing: bool = False) -> TabularData:
    """Load a table.

    Arguments:
        name: one of the sets bundled with scikit-learn (``breast_cancer``, ``diabetes``, ``iris``, ``wine``), which
            need no file, or the stem of an ``.npz`` (array ``x``, optional ``columns`` and ``y``) or ``.csv`` file
            (header, numbers) in the folder or its subfolder ``tabular``.
        data_dir: the folder; default: the variable COURSE_FLOWS_DATA.
        drop_missing: leave out rows with a missing value (NaN, or an empty cell of a CSV file).

    Raises DataError where there is no such table, where it is damaged, for infinite values, and for missing ones
    unless they are to be dropped.
    """
    if name in BUNDLED:
        return _bundled(name)
    folder = data_folder(data_dir)
    for place in _places(folder):
        if (path := place / f"{name}.npz").is_file():
            return _finite(_read_npz(path), drop_missing)
        if (path := place / f"{name}.csv").is_file():
            return _finite(_read_csv(path), drop_missing)
    looked = f"in {folder}, which holds {', '.join(table_names(folder)) or 'no tables'}" if folder else "nowhere"
    raise DataError(
        f"table {name!r} was not found (looked {looked}): bundled are {', '.join(BUNDLED)}; for others put "
        f"{name}.npz or {name}.csv into a folder and name it with data_dir or {VARIABLE}"
    )


def table_names(data_dir: str | Path | None = None) -> tuple[str, ...]:
    """Return the stems of the ``.npz`` and ``.csv`` files that `load_tabular` finds in a folder; see there."""
    files = (f for place in _places(data_folder(data_dir)) if place.is_dir() for f in place.iterdir())
    return tuple(sorted({f.stem for f in files if f.suffix in (".npz", ".csv")}))


def _places(folder: Path | None) -> tuple[Path, ...]:
    return (folder, folder / "tabular") if folder else ()


def _bundled(name: str) -> TabularData:
    from sklearn import datasets

    load = getattr(datasets, f"load_{name}")
    bunch = load(scaled=False) if name == "diabetes" else load()
    labels = None if name == "diabetes" else torch.from_numpy(np.asarray(bunch.target)).long()
    x = torch.from_numpy(np.asarray(bunch.data, dtype=np.float64).copy())
    return TabularData(x, tuple(map(str, bunch.feature_names)), name, labels)


def _read_npz(path: Path) -> TabularData:
    arrays = read_arrays(path)
    if "x" not in arrays or arrays["x"].ndim != 2 or not arrays["x"].shape[1]:
        raise DataError(f"{path} has no array x of shape (N, D); found {sorted(arrays)}")
    if arrays["x"].dtype.kind not in "iuf":
        raise DataError(f"{path}: expected real numbers in x, found {arrays['x'].dtype}")
    x = torch.from_numpy(arrays["x"].astype(np.float64))
    names = arrays.get("columns", np.array([f"x{i}" for i in range(x.shape[1])]))
    if names.shape != (x.shape[1],):
        raise DataError(f"{path} holds {x.shape[1]} columns but names {names.size}: expected one name a column")
    return TabularData(x, tuple(map(str, names)), path.stem, _labels(arrays.get("y"), len(x), path))


def _labels(y: np.ndarray | None, count: int, path: Path) -> Tensor | None:
    if y is None:
        return None
    if y.shape != (count,) or not np.issubdtype(y.dtype, np.number) or not np.array_equal(y, np.round(y)):
        raise DataError(f"{path}: expected whole numbers y of shape ({count},), found {y.dtype} of shape {y.shape}")
    return torch.from_numpy(y.astype(np.int64))


def _read_csv(path: Path) -> TabularData:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, row) for row in reader if row]
    except (OSError, ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(f"{path} cannot be read as a text file of comma-separated values ({error})") from error
    if len(lines) < 2:
        raise DataError(f"{path} is not a table: expected a line of column names and lines of numbers")
    columns = tuple(name.strip() for name in lines[0][1])
    if all(_number(name) is not None for name in columns):
        raise DataError(f"{path}: expected column names in the first line, found numbers")
    return TabularData(
        torch.tensor([_values(path, line, row, columns) for line, row in lines[1:]], dtype=torch.float64),
        columns,
        path.stem,
    )


def _values(path: Path, line: int, row: list[str], columns: tuple[str, ...]) -> list[float]:
    if len(row) != len(columns):
        raise DataError(f"{path}, line {line}: expected {len(columns)} values, one a column name, found {len(row)}")
    values = [math.nan if not text.strip() else _number(text) for text in row]
    if None in values:
        place = values.index(None)
        raise DataError(f"{path}, line {line}, column {columns[place]}: expected a number, found {row[place]!r}")
    return [value for value in values if value is not None]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _finite(data: TabularData, drop_missing: bool) -> TabularData:
    infinite, missing = int(data.x.isinf().any(dim=1).sum()), data.x.isnan().any(dim=1)
    count = int(missing.sum())
    if infinite:
        raise DataError(f"{data.name} has {infinite} of {len(data)} rows with infinite values: correct them first")
    if count == 0:
        return data
    if not drop_missing:
        raise DataError(
            f"{data.name} has {count} of {len(data)} rows with missing values (NaN): fill them, or leave those rows "
            "out by drop_missing=True (--drop-missing)"
        )
    labels = None if data.labels is None else data.labels[~missing]
    return TabularData(data.x[~missing], data.columns, data.name, labels, count)
