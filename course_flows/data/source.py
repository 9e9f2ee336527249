"""Where data files are looked for, and the one error that says what to do when they are not there."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

__all__ = ["DataError", "data_folder", "find_file", "read_arrays", "verify_sha256"]

VARIABLE = "COURSE_FLOWS_DATA"


class DataError(RuntimeError):
    """A data set is missing or broken; the message says where it was looked for and what to do."""


def data_folder(data_dir: str | Path | None) -> Path | None:
    """Return the folder given by `data_dir` or by the variable COURSE_FLOWS_DATA; None where neither is set."""
    chosen = data_dir or os.environ.get(VARIABLE)
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        said_by = "data_dir" if data_dir else VARIABLE
        raise DataError(f"{said_by} names {folder}, which is not a folder: create it or correct the path")
    return folder


def find_file(folder: Path, name: str, *subfolders: str) -> Path | None:
    """Return the first of ``folder/<subfolder>/name`` and ``folder/name`` that exists, plain or with .gz."""
    for place in (*(folder / s for s in subfolders), folder):
        for candidate in (place / name, place / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file; nothing in it is unpickled."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): expected an npz file without pickled objects") from error


def verify_sha256(content: bytes, expected: str, path: Path) -> None:
    """Raise DataError unless `content` has the SHA-256 sum `expected`."""
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is not the published file: expected SHA-256 {expected[:12]}…, found {found[:12]}…; "
            "it is damaged or belongs to another data set"
        )
