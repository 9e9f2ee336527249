"""The results of one submission of a class: a folder of its own, finished when ``record.json`` says so."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import course_flows
from course_flows.grading.course import Course
from course_flows.grading.files import write_file
from course_flows.grading.links import book_labels
from course_flows.grading.report import json_text, write_report

__all__ = ["GRADED", "NOT_GRADED", "UNREADABLE", "grader_version", "is_done", "load_record", "load_report", "store"]

GRADED, UNREADABLE, NOT_GRADED = "graded", "unreadable", "not graded"
LIBRARIES = ("torch", "numpy", "pytest", "msgspec")


def grader_version(course: Course) -> str:
    """Return a digest of everything but the submission that a verdict depends on: grader, course, libraries."""
    digest = hashlib.sha256()
    parts = [platform.python_version(), *(importlib.metadata.version(name) for name in LIBRARIES)]
    parts.append(json.dumps(book_labels(course.book), sort_keys=True))
    files = [*Path(course_flows.__file__).parent.joinpath("grading").glob("*.py")]
    files += [*course.solutions.glob("*.ipynb"), *course.hidden.rglob("*.py"), *course.answers.rglob("signatures.json")]
    parts += sorted(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


def store(folder: Path, record: dict[str, Any], report: dict[str, Any] | None) -> None:
    """Write the results of one submission; the record comes last, so that a folder with it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "record.json").unlink(missing_ok=True)
    if report is not None:
        write_report(report, folder)
        record = record | {"report": _digest(folder / "report.json")}
    write_file(folder / "record.json", json_text(record))


def load_record(folder: Path) -> dict[str, Any] | None:
    """Return the record in a folder, None where there is none that is whole."""
    try:
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        whole = "report" not in record or record["report"] == _digest(folder / "report.json")
    except (OSError, ValueError, TypeError):
        return None
    return record if whole else None


def load_report(folder: Path) -> dict[str, Any]:
    """Return the report in a folder."""
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


def is_done(folder: Path, wanted: dict[str, Any]) -> bool:
    """Tell whether a folder holds final results of the same content, graded with the same settings."""
    record = load_record(folder)
    if record is None or record["status"] == NOT_GRADED:
        return False
    return all(record.get(name) == value for name, value in wanted.items())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
