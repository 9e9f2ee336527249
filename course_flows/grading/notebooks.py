"""Notebooks as data: what a solution notebook holds, the student's version of it, what a submission answers.

Cells carry nbgrader's metadata (schema 3). A solution cell is a task; ``<task>-check`` is its cell of visible checks.
Everything here is plain JSON: no notebook is executed, nothing outside a notebook is looked at.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from typing import Any

from course_flows.grading.nbgrader import handed_out

__all__ = [
    "NotebookError",
    "Task",
    "code_cells",
    "dump",
    "fill",
    "load",
    "student_version",
    "submission_sources",
    "tasks_of",
]

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
DROPPED_METADATA = {"execution", "ExecuteTime", "collapsed", "scrolled", "jupyter"}
INSTRUCTOR_TAG = "instructor"


class NotebookError(Exception):
    """A notebook is not what it should be; the text says in a sentence what was found."""


@dataclass(frozen=True)
class Task:
    """One task of an exercise."""

    name: str
    title: str
    points: float


def load(data: bytes) -> dict[str, Any]:
    """Return the notebook in ``data``, or raise NotebookError where there is none."""
    try:
        notebook = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise NotebookError("The file is not a notebook: it does not hold JSON.") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list) or notebook.get("nbformat") != 4:
        raise NotebookError("The file is not a notebook: it has no list of cells of notebook format 4.")
    return notebook


def dump(notebook: dict[str, Any]) -> str:
    """Return the text of a notebook file: sorted keys, lines of cells apart, the same for the same notebook."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        cell["source"] = source_of(cell).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def source_of(cell: dict[str, Any]) -> str:
    """Return the text of a cell."""
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(str(line) for line in source)


def grade_id(cell: Any) -> str | None:
    """Return the nbgrader id of a cell, None where it has none."""
    metadata = cell.get("metadata") if isinstance(cell, dict) else None
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    found = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    return found if isinstance(found, str) else None


def is_solution(cell: dict[str, Any]) -> bool:
    """Tell whether a cell is written by the student."""
    return grade_id(cell) is not None and cell["metadata"]["nbgrader"].get("solution") is True


def is_check(cell: dict[str, Any]) -> bool:
    """Tell whether a cell holds visible checks."""
    return grade_id(cell) is not None and cell["metadata"]["nbgrader"].get("grade") is True


def tasks_of(notebook: dict[str, Any]) -> list[Task]:
    """Return the tasks of a solution or exercise notebook in their order; raise NotebookError for a faulty one."""
    checks = [cell for cell in notebook["cells"] if is_check(cell)]
    points = {grade_id(cell): cell["metadata"]["nbgrader"].get("points", 0) for cell in checks}
    tasks: list[Task] = []
    heading = ""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            found = re.search(r"^#{1,6}\s+(.+?)\s*$", source_of(cell), re.MULTILINE)
            heading = found[1] if found else heading
        elif is_solution(cell):
            name = grade_id(cell) or ""
            if f"{name}-check" not in points:
                raise NotebookError(f"The task {name} has no cell of visible checks called {name}-check.")
            tasks.append(Task(name, heading or name, points[f"{name}-check"]))
    names = [task.name for task in tasks]
    if len(set(names)) != len(names):
        raise NotebookError("Two tasks of the notebook have the same name.")
    return tasks


def code_cells(notebook: dict[str, Any]) -> list[tuple[str, str]]:
    """Return name and source of the staff and solution cells that the hidden stage runs, in order."""
    return [
        (grade_id(cell) or str(cell.get("id", "cell")), source_of(cell))
        for cell in notebook["cells"]
        if cell["cell_type"] == "code" and not is_check(cell)
    ]


def student_version(solutions: dict[str, Any], exercise: str) -> dict[str, Any]:
    """Return the notebook for students: solutions cut out, outputs dropped, expected outputs of checks in metadata."""
    tasks_of(solutions)
    shown = [cell for cell in solutions["cells"] if INSTRUCTOR_TAG not in cell["metadata"].get("tags", [])]
    cells = [_student_cell(cell) for cell in shown]
    metadata = {
        "course_flows": {"exercise": exercise},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def _student_cell(cell: dict[str, Any]) -> dict[str, Any]:
    name = grade_id(cell)
    metadata = {key: copy.deepcopy(value) for key, value in cell["metadata"].items() if key not in DROPPED_METADATA}
    source = source_of(cell)
    new: dict[str, Any] = {"cell_type": cell["cell_type"], "id": name or cell["id"], "metadata": metadata}
    if cell["cell_type"] == "code":
        new |= {"execution_count": None, "outputs": []}
        if is_check(cell):
            metadata["course_flows"] = metadata.get("course_flows", {}) | {"expected": _printed(cell)}
    if is_solution(cell):
        source = cut_solutions(source, name or "")
    elif BEGIN in source or END in source:
        raise NotebookError(f"The cell {new['id']} holds a solution but is not marked as a solution cell.")
    return new | {"source": source, "metadata": handed_out(cell["cell_type"], source, metadata)}


def expected_output(cell: dict[str, Any]) -> str:
    """Return what a released check cell should print: what its metadata says, or the course's usual line."""
    own = cell["metadata"].get("course_flows")
    return own["expected"] if isinstance(own, dict) and "expected" in own else _usual_output(cell)


def _usual_output(cell: dict[str, Any]) -> str:
    return f"{(grade_id(cell) or '').removesuffix('-check')}: visible checks passed"


def _printed(cell: dict[str, Any]) -> str:
    printed = "".join(
        "".join(output.get("text", "")) for output in cell.get("outputs", []) if output.get("output_type") == "stream"
    )
    return printed.rstrip("\n") or _usual_output(cell)


def cut_solutions(source: str, task: str) -> str:
    """Return a solution cell with everything between its markers replaced by what the student is to write."""
    kept: list[str] = []
    indent: str | None = None
    found = False
    for line in source.splitlines():
        mark = line.strip()
        if mark == BEGIN:
            if indent is not None:
                raise NotebookError(f"The solution cell {task} begins a solution inside a solution.")
            indent, found = line[: len(line) - len(line.lstrip())], True
            kept.append(f"{indent}# YOUR CODE HERE")
            kept.append(f'{indent}raise NotImplementedError("{_enclosing(kept, indent, task)} is not written yet")')
        elif mark == END:
            if indent is None:
                raise NotebookError(f"The solution cell {task} ends a solution that it did not begin.")
            indent = None
        elif indent is None:
            kept.append(line)
    if indent is not None or not found:
        raise NotebookError(f"The solution cell {task} needs {BEGIN} and {END}.")
    return "\n".join(kept)


def _enclosing(lines: list[str], indent: str, task: str) -> str:
    """Return the dotted name of the function that the last line is in, or the task where it is in none."""
    names: list[str] = []
    width = len(indent)
    for line in reversed(lines):
        found = re.match(r"(\s*)(?:def|class)\s+(\w+)", line)
        if found and len(found[1]) < width:
            names.append(found[2])
            width = len(found[1])
    return ".".join(reversed(names)) or task


def submission_sources(data: bytes) -> dict[str, Any]:
    """Return what a submitted notebook says: its exercise and, as two lists, the ids and sources of its code cells."""
    try:
        notebook = load(data)
    except NotebookError as error:
        return {"problem": str(error), "exercise": "", "ids": [], "sources": []}
    metadata = notebook.get("metadata")
    own = metadata.get("course_flows") if isinstance(metadata, dict) else None
    exercise = own.get("exercise") if isinstance(own, dict) else None
    answered = [
        (grade_id(cell), source_of(cell))
        for cell in notebook["cells"]
        if grade_id(cell) is not None and cell.get("cell_type") == "code"
    ]
    return {
        "problem": "",
        "exercise": exercise if isinstance(exercise, str) else "",
        "ids": [name for name, _ in answered],
        "sources": [source for _, source in answered],
    }


def fill(pristine: dict[str, Any], ids: list[str], sources: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Put submitted solution cells into the released notebook; return it and, by task, what was wrong.

    Only the solution cells of the release are looked for; whatever else was submitted is ignored.
    """
    rebuilt = copy.deepcopy(pristine)
    problems: dict[str, str] = {}
    for cell in rebuilt["cells"]:
        if not is_solution(cell):
            continue
        name = grade_id(cell) or ""
        found = [source for other, source in zip(ids, sources) if other == name]
        if len(found) == 1:
            cell["source"] = found[0]
        elif not found:
            problems[name] = (
                f'The cell of the task "{name}" is missing from the notebook. Copy it, with your code, '
                "into a fresh copy of the exercise."
            )
        else:
            problems[name] = (
                f'The notebook holds {len(found)} cells of the task "{name}", so it is not clear which one counts. '
                "Keep one of them."
            )
    return rebuilt, problems
