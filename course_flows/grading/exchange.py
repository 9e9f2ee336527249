"""Reports for other programs: JUnit XML and Gradescope's results.json."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

__all__ = ["gradescope", "junit"]


def junit(reports: Sequence[dict[str, Any]], names: Sequence[str] | None = None) -> str:
    """Return JUnit XML: a suite for each report, a case for each task; ``names`` are the names of the suites."""
    root = ET.Element("testsuites")
    for report, name in zip(reports, names or [report["exercise"] for report in reports], strict=True):
        tasks = report["tasks"]
        failures = sum(task["status"] != "passed" for task in tasks)
        counts = {"tests": str(len(tasks)), "failures": str(failures), "errors": "0", "skipped": "0"}
        suite = ET.SubElement(root, "testsuite", {"name": name, **counts})
        properties = ET.SubElement(suite, "properties")
        for key in ("notebook", "points", "max_points", "isolation", "seed"):
            ET.SubElement(properties, "property", name=key, value=_shown(report[key]))
        for task in tasks:
            case = ET.SubElement(suite, "testcase", classname=report["exercise"], name=task["id"])
            if task["status"] != "passed":
                message = f"{_shown(task['points'])} of {_shown(task['max_points'])} points"
                failure = ET.SubElement(case, "failure", message=message, type=task["status"])
                failure.text = _text(task)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def gradescope(report: dict[str, Any]) -> dict[str, Any]:
    """Return the content of Gradescope's ``results.json``; every text is declared to be plain text.

    Format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
    """
    tests = [
        {
            "name": task["title"],
            "number": str(number),
            "score": task["points"],
            "max_score": task["max_points"],
            "status": "passed" if task["status"] == "passed" else "failed",
            "output": _text(task),
            "output_format": "text",
            "name_format": "text",
            "visibility": "visible",
        }
        for number, task in enumerate(report["tasks"], 1)
    ]
    output = f"{report['exercise']}: {_shown(report['points'])} of {_shown(report['max_points'])} points."
    if report["isolation"] == "none":
        output += " This notebook ran without isolation: nobody should believe this report."
    return {
        "score": report["points"],
        "output": output,
        "output_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": tests,
    }


def _text(task: dict[str, Any]) -> str:
    links = [f"Read again: {link['title']} ({link['url']})" for link in task["links"]]
    return "\n".join([*task["feedback"], *links])


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
