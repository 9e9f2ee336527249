"""What a class did, in numbers: points, tasks and known mistakes of every exercise."""

from __future__ import annotations

import math
import statistics as standard
from collections.abc import Sequence
from typing import Any

__all__ = ["histogram", "statistics"]

MAX_BARS = 20


def statistics(counted: Sequence[dict[str, Any]], reports: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for every exercise the points, how many have each task (hardest first), and the known mistakes made."""
    exercises: dict[str, list[dict[str, Any]]] = {}
    for entry in counted:
        if entry["key"] in reports:
            exercises.setdefault(entry["exercise"], []).append(reports[entry["key"]])
    return [_exercise(name, exercises[name]) for name in sorted(exercises)]


def _exercise(name: str, reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    points = [report["points"] for report in reports]
    tasks: dict[str, dict[str, Any]] = {}
    mistakes: dict[tuple[str, str], dict[str, Any]] = {}
    for task in (task for report in reports for task in report["tasks"]):
        row = tasks.setdefault(task["id"], {"id": task["id"], "title": task["title"], "passed": 0, "missing": 0})
        row["passed"] += task["status"] == "passed"
        row["missing"] += task["status"] == "missing"
        for mistake in task["mistakes"]:
            key = (task["id"], mistake["name"])
            seen = mistakes.setdefault(key, {"task": task["id"], **mistake, "students": 0})
            seen["students"] += 1
    return {
        "exercise": name,
        "students": len(reports),
        "points": sorted(points),
        "max_points": max(report["max_points"] for report in reports),
        "mean": standard.fmean(points),
        "median": standard.median(points),
        "tasks": sorted(tasks.values(), key=lambda task: task["passed"]),
        "mistakes": sorted(mistakes.values(), key=lambda m: (-m["students"], m["task"], m["name"])),
    }


def histogram(points: Sequence[float], max_points: float) -> list[tuple[str, int]]:
    """Return bars, a label and a count each: one for every whole number of points, or equal ranges of many points.

    >>> histogram([0, 2, 2], 2)
    [('0', 1), ('1', 0), ('2', 2)]
    >>> histogram([0, 39, 40], 40)[-1]
    ('38–40', 2)
    """
    width = max(1, math.ceil(max_points / MAX_BARS))
    count = max(1, math.floor(max_points / width) + (width == 1))
    counts = [0] * count
    for value in points:
        counts[min(int(value // width), count - 1)] += 1
    if width == 1:
        return [(str(index), number) for index, number in enumerate(counts)]
    ends = [min((index + 1) * width - 1, max_points) for index in range(count - 1)] + [max_points]
    return [(f"{index * width}–{ends[index]:g}", number) for index, number in enumerate(counts)]
