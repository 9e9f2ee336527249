"""The report of a grading: plain data, the same bytes for the same submission and seed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from course_flows.grading.hidden import HiddenResult
from course_flows.grading.notebooks import Task
from course_flows.grading.text import for_markdown, one_line
from course_flows.grading.visible import Visible

__all__ = ["SCHEMA_VERSION", "build_report", "markdown", "write_report"]

SCHEMA_VERSION = 1
MAX_FEEDBACK = 12


def build_report(
    *,
    notebook: str,
    exercise: str,
    isolation: str,
    seed: int,
    tasks: list[Task],
    problems: dict[str, str],
    hidden: HiddenResult,
    visible: dict[str, Visible],
) -> dict[str, Any]:
    """Return the report as plain data. A task has its points or none; the hidden stage alone decides."""
    rows = [_row(task, problems.get(task.name), hidden, visible[task.name]) for task in tasks]
    return {
        "schema_version": SCHEMA_VERSION,
        "notebook": one_line(notebook, 120),
        "exercise": exercise,
        "points": sum(row["points"] for row in rows),
        "max_points": sum(row["max_points"] for row in rows),
        "isolation": isolation,
        "seed": seed,
        "tasks": rows,
    }


def _row(task: Task, problem: str | None, hidden: HiddenResult, visible: Visible) -> dict[str, Any]:
    points = 0 if problem else hidden.points[task.name]
    if problem:
        status, feedback = "missing", [problem]
    elif points == task.points:
        status, feedback = "passed", []
    else:
        status, feedback = "failed", _feedback(task.name, hidden)
    if visible.status == "failed" and not problem:
        feedback = [*feedback, f"The visible check in the notebook says: {visible.text}"]
    elif visible.status == "not run" and visible.text:
        feedback = [*feedback, f"The visible check was not run: {visible.text}"]
    return {
        "id": task.name,
        "title": task.title,
        "points": points,
        "max_points": task.points,
        "status": status,
        "feedback": feedback,
        "visible": visible.status,
    }


def _feedback(task: str, hidden: HiddenResult) -> list[str]:
    """Say which properties failed and what was found, each once."""
    lines = []
    if task in hidden.cell_errors:
        lines.append(f"Running the cell ended with an error: {hidden.cell_errors[task]}")
    for result in hidden.results[task]:
        if not result.failed and result.passed:
            continue
        line = result.property.sentence
        if result.found:
            line += f" Found: {result.found}."
        if result.property.hint_link:
            line += f" (In the book: {result.property.hint_link}.)"
        lines.append(line)
    lines = list(dict.fromkeys(lines))
    left = len(lines) - MAX_FEEDBACK
    return lines if left <= 0 else [*lines[:MAX_FEEDBACK], f"… and {left} more checks that failed."]


def markdown(report: dict[str, Any]) -> str:
    """Return a summary for people; every text is escaped."""
    lines = [
        f"# {for_markdown(report['exercise'])}: {report['points']:g} of {report['max_points']:g} points",
        "",
        f"Notebook: {for_markdown(report['notebook'])}  ",
        f"Isolation of the code: {report['isolation']}",
    ]
    if report["isolation"] == "none":
        lines += ["", "**This notebook ran without isolation: nobody should believe this report.**"]
    for task in report["tasks"]:
        head = f"## {for_markdown(task['title'])} ({for_markdown(task['id'])})"
        score = f"{task['points']:g} of {task['max_points']:g} points. Visible check: {task['visible']}."
        lines += ["", head, "", score]
        lines += [""] * bool(task["feedback"]) + [f"* {for_markdown(text)}" for text in task["feedback"]]
    return "\n".join(lines) + "\n"


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write report.json and report.md, each in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.json": json.dumps(report, indent=2, ensure_ascii=False) + "\n",
        "report.md": markdown(report),
    }
    for name, text in texts.items():
        partial = folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, folder / name)
