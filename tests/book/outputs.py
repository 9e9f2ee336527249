"""Compares the outputs of an executed notebook with the stored ones, cell by cell, as nbval does.

The chapters are executed once, by the build; nbval would execute them again. What it compares and what it passes over
is the same here, which a test makes sure of.
"""

from __future__ import annotations

import copy
import difflib
import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbval.plugin import coalesce_streams, get_sanitize_patterns, transform_streams_for_comparison
from notebooks import NOT_COMPARED

__all__ = ["SANITIZE", "Difference", "differences", "execute", "report"]

SANITIZE = Path(__file__).with_name("sanitize.cfg")
PASSED_OVER = {  # by nbval, too: how an output came about, and pictures
    "metadata",
    "traceback",
    "prompt_number",
    "output_type",
    "name",
    "execution_count",
    "image/png",
    "image/jpeg",
}


@dataclass(frozen=True)
class Difference:
    """A cell whose outputs are not the stored ones."""

    cell: str
    source: str
    stored: str
    found: str

    def __str__(self) -> str:
        lines = difflib.unified_diff(self.stored.splitlines(), self.found.splitlines(), "stored", "now", lineterm="")
        return f"cell {self.cell!r}:\n{_indent(self.source)}\n  stored and now:\n{_indent(chr(10).join(lines))}"


def differences(stored: NotebookNode, executed: NotebookNode) -> list[Difference]:
    """Return the cells whose outputs in ``executed`` are not those in ``stored``, or that raise or were not run."""
    patterns = get_sanitize_patterns(SANITIZE.read_text(encoding="utf-8"))
    now = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    found = []
    for cell in stored.cells:
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        new, tags = now.get(cell.id), set(cell.metadata.get("tags", []))
        before, after = (_values(one.outputs if one else [], patterns) for one in (cell, new))
        raised = "ename" in after and "raises-exception" not in tags
        if new is None or new.source != cell.source or raised or (before != after and not NOT_COMPARED & tags):
            found.append(Difference(cell.id, cell.source, _shown(before), _shown(after)))
    return found


def execute(path: Path, seconds: int = 600) -> NotebookNode:
    """Run a notebook in its own folder and return it with its new outputs; a cell that raises does not stop it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, timeout=seconds, kernel_name="python3", allow_errors=True, coalesce_streams=True, resources=folder
    ).execute()
    return notebook


def report(path: Path, found: list[Difference], rerun: str) -> str:
    """Return what is shown of a notebook with differences: each cell, both outputs, and how to run just this page."""
    head = f"{path}: {len(found)} of its cells print something else than what is stored"
    return "\n\n".join([head, *map(str, found), f"run this page alone:\n  {rerun}"])


def _values(outputs: list[NotebookNode], patterns: list[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the values of all outputs by their kind, in order."""
    values: dict[str, list[str]] = defaultdict(list)
    for output in transform_streams_for_comparison(coalesce_streams(copy.deepcopy(outputs))):
        for kind, value in {**output, **output.get("data", {})}.items():
            if kind not in PASSED_OVER and kind != "data":
                for pattern, instead in patterns:
                    value = re.sub(pattern, instead, value) if isinstance(value, str) else value
                values[kind].append(value)
    return dict(values)


def _shown(values: dict[str, list[str]]) -> str:
    return "\n".join(f"[{kind}]\n{value}" for kind, found in values.items() for value in found)


def _indent(text: str) -> str:
    return textwrap.indent(text, "    ")
