"""Tables of real numbers: small sets bundled with scikit-learn, and npz or CSV files from a folder."""

from __future__ import annotations

import csv
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_flows.data.source import VARIABLE, DataError, data_folder

__all__ = ["TabularData", "load_tabular"]

BUNDLED = ("breast_cancer", "diabetes", "iris", "wine")


@dataclass(frozen=True)
class TabularData:
    """A table of real numbers.

    Attributes:
        x: float64 ``(N, D)`` in the order and units of the source.
        columns: the D column names.
        name: of the set.
        labels: int64 ``(N,)`` or None.
    """

    x: Tensor
    columns: tuple[str, ...]
    name: str
    labels: Tensor | None = None

    def column(self, name: str) -> Tensor:
        """Return one column ``(N,)`` by its name."""
        if name not in self.columns:
            raise ValueError(f"{self.name} has the columns {', '.join(self.columns)}, found {name!r}")
        return self.x[:, self.columns.index(name)]

    def __len__(self) -> int:
        return len(self.x)


def load_tabular(name: str, data_dir: str | Path | None = None) -> TabularData:
    """Load a table.

    Arguments:
        name: one of the sets bundled with scikit-learn (``breast_cancer``, ``diabetes``, ``iris``, ``wine``), which
            need no file, or the stem of an ``.npz`` (array ``x``, optional ``columns`` and ``y``) or ``.csv`` file
            (header, numbers) in the folder or its subfolder ``tabular``.
        data_dir: the folder; default: the variable COURSE_FLOWS_DATA.

    Rows with a missing value (NaN) are refused with DataError: drop or fill them first.
    """
    if name in BUNDLED:
        return _bundled(name)
    folder = data_folder(data_dir)
    for place in (folder, folder / "tabular") if folder else ():
        if (path := place / f"{name}.npz").is_file():
            return _finite(_read_npz(path))
        if (path := place / f"{name}.csv").is_file():
            return _finite(_read_csv(path))
    looked = f"in {folder}" if folder else "nowhere, since no folder was named"
    raise DataError(
        f"table {name!r} was not found (looked {looked}): bundled are {', '.join(BUNDLED)}; for others put "
        f"{name}.npz or {name}.csv into a folder and name it with data_dir or {VARIABLE}"
    )


def _bundled(name: str) -> TabularData:
    from sklearn import datasets

    load = getattr(datasets, f"load_{name}")
    bunch = load(scaled=False) if name == "diabetes" else load()
    labels = None if name == "diabetes" else torch.from_numpy(np.asarray(bunch.target)).long()
    x = torch.from_numpy(np.asarray(bunch.data, dtype=np.float64).copy())
    return TabularData(x, tuple(map(str, bunch.feature_names)), name, labels)


def _read_npz(path: Path) -> TabularData:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): expected an npz file without pickled objects") from error
    if "x" not in arrays or arrays["x"].ndim != 2:
        raise DataError(f"{path} has no array x of shape (N, D); found {sorted(arrays)}")
    if not np.issubdtype(arrays["x"].dtype, np.number):
        raise DataError(f"{path}: expected numbers in x, found {arrays['x'].dtype}")
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
            rows = [row for row in csv.reader(file) if row]
        x = torch.tensor([[float(v) for v in row] for row in rows[1:]], dtype=torch.float64)
    except ValueError as error:  # UnicodeDecodeError is one
        raise DataError(f"{path} holds something that is not a number ({error})") from error
    if x.dim() != 2 or x.shape[1] != len(rows[0]):
        raise DataError(f"{path} is not a table: expected a header and rows of {len(rows[0]) if rows else 0} numbers")
    return TabularData(x, tuple(rows[0]), path.stem)


def _finite(data: TabularData) -> TabularData:
    bad = int((~torch.isfinite(data.x)).any(dim=1).sum())
    if bad:
        raise DataError(f"{data.name} has {bad} of {len(data)} rows with NaN or infinity: drop or fill them first")
    return data
