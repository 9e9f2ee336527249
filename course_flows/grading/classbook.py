"""The results of a class: gathered from the folders of a batch, written as CSV, JSON, Markdown, JUnit XML and HTML.

``class.csv`` has a row for each student and exercise, with the submission that counts; ``class.json`` has an entry for
every submission. The rules are those of `course_flows.grading.submissions`.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_flows.grading.exchange import junit
from course_flows.grading.figures import statistics
from course_flows.grading.files import write_file
from course_flows.grading.overview import overview_page
from course_flows.grading.page import UNSAFE
from course_flows.grading.records import GRADED, NOT_GRADED, load_record, load_report, store
from course_flows.grading.report import json_text
from course_flows.grading.submissions import BatchError, is_late, which_count
from course_flows.grading.text import for_markdown

__all__ = ["ClassBook", "merge", "read_class", "write_class"]

COLUMNS = (
    "student",
    "exercise",
    "points",
    "max_points",
    "late",
    "status",
    "file",
    "submitted_at",
    "submissions",
    "isolation",
)


@dataclass(frozen=True)
class ClassBook:
    """A batch, an entry for each of its submissions that has results, and the reports by key."""

    batch: dict[str, Any]
    entries: list[dict[str, Any]]
    reports: dict[str, dict[str, Any]]

    @property
    def not_graded(self) -> list[dict[str, Any]]:
        """The entries that the grader, not the student, is to blame for."""
        return [entry for entry in self.entries if entry["status"] == NOT_GRADED]

    @property
    def counted(self) -> list[dict[str, Any]]:
        """The entries that count, in the order of students and exercises."""
        counted = [entry for entry in self.entries if entry["counts"]]
        return sorted(counted, key=lambda entry: (entry["student"], entry["exercise"], entry["file"]))


def read_class(folder: Path) -> ClassBook:
    """Gather the results in the report folder of a batch."""
    batch = _batch_of(folder)
    entries, reports = [], {}
    for row in batch["submissions"]:
        results = folder / "submissions" / row["key"]
        record = load_record(results)
        if record is None:
            continue
        report = load_report(results) if record["status"] == GRADED else None
        entry = row | {name: record[name] for name in ("status", "exercise", "problem", "faults")}
        entry["late"] = is_late(row["submitted_at"], batch["deadline"])
        entry["points"] = report["points"] if report else 0
        entry["max_points"] = report["max_points"] if report else 0
        entry["isolation"] = report["isolation"] if report else ""
        entries.append(entry)
        if report:
            reports[row["key"]] = report
    chosen = {entry["key"] for entry in which_count(entries).values()}
    return ClassBook(batch, [entry | {"counts": entry["key"] in chosen} for entry in entries], reports)


def write_class(folder: Path) -> ClassBook:
    """Write the files about the whole class into the report folder of a batch."""
    book = read_class(folder)
    figures = statistics(book.counted, book.reports)
    graded = [entry for entry in book.counted if entry["key"] in book.reports]
    texts = {
        "class.json": json_text({"schema_version": 1, "deadline": book.batch["deadline"], "entries": book.entries}),
        "class.csv": _csv(book),
        "summary.md": _summary(book, figures),
        "junit.xml": junit(
            [book.reports[entry["key"]] for entry in graded],
            [f"{entry['student']}: {entry['exercise']}" for entry in graded],
        ),
        "overview.html": overview_page(book.batch, book.entries, book.counted, figures),
    }
    for name, text in texts.items():
        write_file(folder / name, text)
    return book


def merge(parts: Sequence[Path], target: Path) -> ClassBook:
    """Put the report folders of all shards of a batch together; the same files come out as without shards."""
    batches = [_batch_of(part) for part in parts]
    whole = batches[0] | {"shard": "1/1"}
    for part, batch in zip(parts, batches):
        if batch | {"shard": "1/1"} != whole:
            raise BatchError(
                f"{part} and {parts[0]} do not belong together: class, settings or grader are not the same."
            )
    missing = 0
    for row in whole["submissions"]:
        found = [part / "submissions" / row["key"] for part in parts]
        records = [(folder, load_record(folder)) for folder in found]
        present = [(folder, record) for folder, record in records if record is not None]
        if not present:
            missing += 1
            continue
        folder, record = present[0]
        assert record is not None
        if any(other != record for _, other in present):
            raise BatchError(f"The results of {row['file']} are in two of the folders and are not the same.")
        store(target / "submissions" / row["key"], record, load_report(folder) if record["status"] == GRADED else None)
    if missing:
        total = len(whole["submissions"])
        raise BatchError(f"{missing} of {total} submissions have results in none of the folders: is a shard missing?")
    write_file(target / "batch.json", json_text(whole))
    return write_class(target)


def _batch_of(folder: Path) -> dict[str, Any]:
    try:
        batch: dict[str, Any] = json.loads((folder / "batch.json").read_text(encoding="utf-8"))
        fine = all(re.fullmatch(r"[A-Za-z0-9_-]+", row["key"]) for row in batch["submissions"])
        fine = fine and isinstance(batch["deadline"], str) and batch["schema_version"] == 1
    except (OSError, ValueError, KeyError, TypeError):
        fine = False
    if not fine:
        raise BatchError(f"{folder} holds no results of a class: its batch.json is missing or damaged.")
    return batch


def _csv(book: ClassBook) -> str:
    """Return the table of the class; a text that a spreadsheet would take for a formula gets an apostrophe."""
    tasks: dict[str, None] = {}
    for report in book.reports.values():
        tasks |= {f"{report['exercise']}: {task['id']}": None for task in report["tasks"]}
    names = sorted(tasks)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *names])
    for entry in book.counted:
        same = [e for e in book.entries if (e["student"], e["exercise"]) == (entry["student"], entry["exercise"])]
        values = entry | {"late": "yes" if entry["late"] else "no", "submissions": len(same)}
        own = book.reports.get(entry["key"], {"tasks": []})["tasks"]
        won = {f"{entry['exercise']}: {task['id']}": task["points"] for task in own}
        writer.writerow([_harmless(values[name]) for name in COLUMNS] + [won.get(name, "") for name in names])
    return text.getvalue()


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _summary(book: ClassBook, figures: Sequence[dict[str, Any]]) -> str:
    """Return a summary in Markdown without names of students, for the log of a CI run."""
    lines = ["# The class in short", ""]
    lines.append(f"{len(book.entries)} of {len(book.batch['submissions'])} submissions have results.")
    if any(entry["isolation"] == "none" for entry in book.entries):
        lines += ["", f"**{UNSAFE}**", ""]
    counts = {
        "could not be read as a notebook": sum(entry["status"] == "unreadable" for entry in book.entries),
        "could not be graded; look at overview.html": len(book.not_graded),
        "came late": sum(entry["late"] for entry in book.entries),
    }
    lines += [f"* {count} {words}" for words, count in counts.items() if count]
    for exercise in figures:
        lines += ["", f"## {for_markdown(exercise['exercise'])}", ""]
        lines.append(
            f"{exercise['students']} students, on average {exercise['mean']:.1f} of {exercise['max_points']:g} points, "
            f"median {exercise['median']:g}."
        )
        lines += ["", "| Task | Students with its points |", "|---|---|"]
        lines += [
            f"| {for_markdown(task['title'], in_table=True)} | {task['passed']} of {exercise['students']} |"
            for task in exercise["tasks"]
        ]
    return "\n".join(lines) + "\n"
