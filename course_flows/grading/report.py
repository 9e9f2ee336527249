"""The report of a grading: plain data, the same bytes for the same submission and seed, and its renderings.

``report.json`` holds one object; `course_flows.grading.schema.REPORT_SCHEMA` is its JSON Schema:

* ``schema_version`` (1), ``notebook`` (the file's name), ``exercise``, ``isolation`` (the tier; in a container
  ``container (TIER)``), ``seed``;
* ``points`` and ``max_points``, the sums over the tasks;
* ``tasks``, each with ``id``, ``title``, ``points``, ``max_points``, ``status`` (``passed``, ``failed``, ``missing``),
  ``visible`` (what the checks in the notebook said: ``passed``, ``failed`` or ``not run``), ``feedback`` (sentences),
  ``mistakes`` (known mistakes that the answer looks like: ``name`` and ``hint``) and ``links`` (places in the book to
  read again: ``title`` and ``url``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from course_flows.grading.exchange import gradescope, junit
from course_flows.grading.files import write_file
from course_flows.grading.hidden import HiddenResult
from course_flows.grading.links import Link
from course_flows.grading.mistakes import Mistake
from course_flows.grading.notebooks import Task
from course_flows.grading.page import is_address, student_page
from course_flows.grading.text import for_markdown, one_line
from course_flows.grading.visible import Visible

__all__ = ["SCHEMA_VERSION", "build_report", "json_text", "markdown", "report_files", "write_report"]

SCHEMA_VERSION = 1
MAX_FEEDBACK = 12
UNTOUCHED = ["This task is not written yet."]
NOT_WRITTEN = re.compile(r"NotImplementedError(: [\w.]+ is not written yet| \(line \d+ of the cell [^)]*\)$)")
LOOKS_LIKE = "This looks like a known mistake: "


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
    mistakes: Mapping[str, Sequence[Mistake]] | None = None,
    link: Callable[[str], Link | None] = lambda label: None,
) -> dict[str, Any]:
    """Return the report as plain data. A task has its points or none; the hidden stage alone decides."""
    looks = mistakes or {}
    rows = [
        _row(task, problems.get(task.name), hidden, visible[task.name], looks.get(task.name, ()), link)
        for task in tasks
    ]
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


def _row(
    task: Task,
    problem: str | None,
    hidden: HiddenResult,
    visible: Visible,
    looks: Sequence[Mistake],
    link: Callable[[str], Link | None],
) -> dict[str, Any]:
    points = 0 if problem else hidden.points[task.name]
    seen = f"The visible check in the notebook says: {visible.text}" if visible.status == "failed" else ""
    shown: Sequence[Mistake] = ()
    links: list[Link] = []
    if problem:
        status, feedback = "missing", [problem]
    elif points == task.points:
        status, feedback = "passed", [f"Your answer has full points. {seen}"] if seen else []
    else:
        status, shown, told = "failed", looks, _feedback(task.name, hidden)
        hints = [LOOKS_LIKE + mistake.hint for mistake in shown]
        feedback = [*hints, *([seen] if seen and told != UNTOUCHED else []), *told]
        links = _links(task.name, hidden, link)
    if visible.status == "not run" and visible.text:
        feedback = [*feedback, f"The visible check was not run: {visible.text}"]
    return {
        "id": task.name,
        "title": task.title,
        "points": points,
        "max_points": task.points,
        "status": status,
        "feedback": feedback,
        "mistakes": [{"name": mistake.name, "hint": mistake.hint} for mistake in shown],
        "links": [{"title": one.title, "url": one.url} for one in links],
        "visible": visible.status,
    }


def _feedback(task: str, hidden: HiddenResult) -> list[str]:
    """Say which properties failed and what was found; checks that stopped in the same way are told once."""
    failed = [result for result in hidden.results[task] if not result.won()]
    if failed and all(NOT_WRITTEN.search(result.found) for result in failed):
        return UNTOUCHED
    if task in hidden.cell_errors and all(result.manner == "raised" for result in failed):
        return [f"Running the cell ended with an error: {hidden.cell_errors[task]}. Nothing else could be tried."]
    lines: dict[str, list[str]] = {}
    for result in failed:
        key = result.found if result.manner in ("raised", "lost") else result.property.sentence
        line = result.property.sentence + (f" Found: {result.found}." if result.found else "")
        lines.setdefault(key, []).append(line)
    told = [
        line
        for same in lines.values()
        for line in (same[0], f"… and {_more(len(same) - 1)} ended in the same way.")[: min(len(same), 2)]
    ]
    if task in hidden.cell_errors:
        told.insert(0, f"Running the cell ended with an error: {hidden.cell_errors[task]}")
    left = len(told) - MAX_FEEDBACK
    return told if left <= 0 else [*told[:MAX_FEEDBACK], f"… and {_more(left)} that failed."]


def _more(count: int) -> str:
    return "1 more check" if count == 1 else f"{count} more checks"


def _links(task: str, hidden: HiddenResult, link: Callable[[str], Link | None]) -> list[Link]:
    """Return where the book speaks of the properties that failed, each place once."""
    labels = [result.property.hint_link for result in hidden.results[task] if not result.won()]
    found = [link(label) for label in dict.fromkeys(labels) if label]
    return [one for one in found if one is not None]


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
        lines += [f"* Read again: {_place(one)}" for one in task["links"]]
    return "\n".join(lines) + "\n"


def _place(link: dict[str, str]) -> str:
    title = for_markdown(link["title"])
    return f"[{title}](<{link['url']}>)" if is_address(link["url"]) else f"{title}, in the book"


def json_text(content: Any) -> str:
    """Return the text of a JSON file."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def report_files(report: dict[str, Any]) -> dict[str, str]:
    """Return the report in every form, by file name; report.json is the last."""
    return {
        "report.md": markdown(report),
        "report.html": student_page(report),
        "junit.xml": junit([report]),
        "results.json": json_text(gradescope(report)),
        "report.json": json_text(report),
    }


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write the report in every form, each file in one step, report.json last."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in report_files(report).items():
        write_file(folder / name, text)
