"""The marks that nbgrader puts on the cells that it hands out (its metadata, schema 3).

With them JupyterLab keeps students from deleting cells and from editing the staff's, and ``nbgrader validate`` notices
a check that was changed. Nothing here decides about points.
"""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["checksum", "handed_out"]


def handed_out(cell_type: str, source: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return a cell's metadata as nbgrader would hand it out; a cell that has no role there keeps its own."""
    nbgrader = metadata.get("nbgrader", {})
    if not any(nbgrader.get(role) for role in ("grade", "solution", "locked")):
        return metadata
    marks = {"cell_type": cell_type, "checksum": checksum(cell_type, source, nbgrader)}
    locks = {"deletable": False} | ({} if nbgrader.get("solution") else {"editable": False})
    return metadata | locks | {"nbgrader": nbgrader | marks}


def checksum(cell_type: str, source: str, nbgrader: dict[str, Any]) -> str:
    """Return nbgrader's checksum of a cell: MD5 over its source, type, roles, id and, where it is graded, points."""
    grade, solution = nbgrader.get("grade") is True, nbgrader.get("solution") is True
    locked = not solution and (grade or nbgrader.get("locked") is True)
    parts = [source, cell_type, str(grade), str(solution), str(locked), nbgrader["grade_id"]]
    parts += [str(float(nbgrader.get("points", 0)))] if grade else []
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()
