"""Submissions and results of a small class, for the tests of reports and batches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_flows.grading import notebooks
from course_flows.grading.course import Course

PROGRAM = Path(sys.executable).with_name("course-flows")
WRONG_SHIFT = """class Shift(torch.nn.Module):
    def __init__(self, features):
        super().__init__()
        self.shift = 0.0 * torch.ones(features).double()

    def forward(self, x):
        return x + self.shift, torch.zeros(x.shape[:-1], dtype=x.dtype)


def apply(function, x):
    return function(x)
"""
NASTY = (
    "</script><script>alert(1)</script>\x1b[31m\n::set-output name=x::y\n:::add-mask::z ##[error]# http://x.test [a](b)"
)


def hand_in(course: Course, path: Path, answers: Mapping[str, str] | None = None) -> Path:
    """Write a rightly answered notebook of the tiny exercise, with some answers replaced."""
    notebook = course.release("00_mini")
    solution = {cell["id"]: cell for cell in course.solution("00_mini")["cells"]}
    for cell in notebook["cells"]:
        if notebooks.is_solution(cell):
            cell["source"] = (answers or {}).get(cell["id"], notebooks.source_of(solution[cell["id"]]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebooks.dump(notebook), encoding="utf-8")
    return path


def raising(text: str) -> str:
    """Return an answer that raises with a text."""
    return f"def scale_log_density(x, a):\n    raise ValueError({text!r})"


def command(*arguments: object) -> list[str]:
    """Return the command line of course-flows with arguments."""
    return [str(PROGRAM), *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run course-flows."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False)


def contents(folder: Path, without: str = "") -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != without]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def made_up_report(points: int = 3, exercise: str = "00_mini", **task: Any) -> dict[str, Any]:
    """Return a report with one task, as if a notebook had been graded."""
    row = {"id": "only", "title": "The only task", "points": points, "max_points": 3, "feedback": [], "mistakes": []}
    row |= {"links": [], "visible": "passed", "status": "passed" if points == 3 else "failed"}
    whole = {"schema_version": 1, "notebook": "nb.ipynb", "exercise": exercise, "points": points, "max_points": 3}
    return whole | {"isolation": "landlock", "seed": 0, "tasks": [row | task]}
