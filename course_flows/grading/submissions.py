"""The submissions of a class: which files there are, whose they are, when they came, which one counts.

A folder of submissions holds ``<student>.ipynb`` or ``<student>/<any name>.ipynb``. An optional ``submissions.csv`` in
it (columns ``student``, ``file``, ``submitted_at``) says whose a file is and when it came, in ISO 8601; a time without
a zone is UTC. Times of the file system are never looked at: copies change them.

Rules. Every file is graded. For each student and exercise one submission counts: the latest on-time one; where all are
late, the latest, flagged as late. On time means not after the deadline; a file without a time is on time, and earlier
than every file with one; of two with the same time the later in the order of file names counts. A file that is no
notebook never takes the place of one that is.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from course_flows.grading.text import one_line

__all__ = ["BatchError", "Submitted", "find_submissions", "is_late", "parse_time", "shard_of", "which_count"]

LISTING = "submissions.csv"
COLUMNS = ("student", "file", "submitted_at")
EARLIEST = datetime.min.replace(tzinfo=timezone.utc)


class BatchError(Exception):
    """A class cannot be graded or merged as wanted; the text says in a sentence what was expected and found."""


@dataclass(frozen=True, order=True)
class Submitted:
    """One submitted file: its path in the folder, whose it is, when it came (empty where unknown)."""

    file: str
    student: str
    submitted_at: str = ""

    @property
    def key(self) -> str:
        """The name of the folder of its results: safe whatever the student called the file."""
        slug = re.sub(r"[^A-Za-z0-9_-]+", "_", self.student)[:40].strip("_") or "student"
        return f"{slug}-{hashlib.sha256(os.fsencode(self.file)).hexdigest()[:10]}"

    def row(self) -> dict[str, Any]:
        """Return it as plain data that can be shown."""
        return {"key": self.key} | {name: _shown(value) for name, value in asdict(self).items()}


def _shown(name: str) -> str:
    """Return a name that can be shown; two names never become one."""
    clean = one_line(name, 150)
    return clean if clean == name else f"{clean} ({hashlib.sha256(os.fsencode(name)).hexdigest()[:8]})"


def find_submissions(folder: Path) -> tuple[list[Submitted], list[str]]:
    """Return the submissions in a folder, in order, and what lies there and is none."""
    listed = _listing(folder / LISTING)
    found, ignored = [], []
    for entry in _sorted(folder):
        if entry.name == LISTING or entry.name.startswith("."):
            continue
        if entry.is_dir() and not entry.is_symlink():
            for inner in _sorted(entry):
                name = f"{entry.name}/{inner.name}"
                if inner.suffix == ".ipynb" and not inner.name.startswith("."):
                    found.append(_submitted(name, entry.name, listed))
                elif not inner.name.startswith("."):
                    ignored.append(one_line(name, 200))
        elif entry.suffix == ".ipynb":
            found.append(_submitted(entry.name, entry.stem, listed))
        else:
            ignored.append(one_line(entry.name, 200))
    if listed:
        raise BatchError(f"{LISTING} names files that are not there: {one_line(', '.join(sorted(listed)), 300)}.")
    if not found:
        raise BatchError("The folder of submissions holds no <student>.ipynb and no <student>/<name>.ipynb.")
    return sorted(found), ignored


def _sorted(folder: Path) -> list[Path]:
    return sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))


def _submitted(name: str, student: str, listed: dict[str, tuple[str, str]]) -> Submitted:
    owner, when = listed.pop(name, ("", ""))
    return Submitted(name, owner or student, when)


def _listing(path: Path) -> dict[str, tuple[str, str]]:
    """Return student and time by file, as ``submissions.csv`` says."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or [])]:
            raise BatchError(f"{LISTING} needs the columns {', '.join(COLUMNS)}; it lacks {', '.join(missing)}.")
        rows: dict[str, tuple[str, str]] = {}
        for row in reader:
            student, name, when = ((row[column] or "").strip() for column in COLUMNS)
            name = PurePosixPath(name).as_posix()
            if name in rows:
                raise BatchError(f"{LISTING} names the file {one_line(name, 200)} twice.")
            rows[name] = (student, parse_time(when).isoformat() if when else "")
        return rows


def parse_time(text: str) -> datetime:
    """Return a time in UTC; a time without a zone is taken as UTC.

    >>> parse_time("2026-03-01T12:00+02:00").isoformat()
    '2026-03-01T10:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise BatchError(f"{one_line(text, 80)!r} is not a time like 2026-03-01T12:00+01:00.") from None
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)


def is_late(submitted_at: str, deadline: str) -> bool:
    """Tell whether a time lies after a deadline; either may be unknown, which is on time."""
    return bool(submitted_at and deadline) and parse_time(submitted_at) > parse_time(deadline)


def shard_of(submissions: list[Submitted], shard: str) -> list[Submitted]:
    """Return the part of a class that shard ``i/n`` grades, i from 1 to n.

    >>> [s.file for s in shard_of([Submitted(f"{name}.ipynb", name) for name in "abcde"], "2/2")]
    ['b.ipynb', 'd.ipynb']
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise BatchError(f"A shard is written i/n with i from 1 to n, found {one_line(shard, 40)!r}.")
    return submissions[number - 1 :: count]


def which_count(entries: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return, for each student and exercise, the entry that counts.

    Entries have ``student``, ``exercise``, ``file``, ``submitted_at``, ``late`` and ``status``.
    """
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in sorted(entries, key=_rank):
        chosen[entry["student"], entry["exercise"]] = entry
    return chosen


def _rank(entry: dict[str, Any]) -> tuple[bool, bool, datetime, str]:
    when = parse_time(entry["submitted_at"]) if entry["submitted_at"] else EARLIEST
    return entry["status"] == "graded", not entry["late"], when, entry["file"]
