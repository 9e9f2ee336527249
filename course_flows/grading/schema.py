"""The JSON Schema of report.json, described in `course_flows.grading.report`."""

from __future__ import annotations

from typing import Any

__all__ = ["REPORT_SCHEMA"]

TEXT = {"type": "string", "pattern": r"^[^\x00-\x1f\x7f]*$"}
NUMBER = {"type": "number", "minimum": 0}
ISOLATION = ["namespaces", "landlock", "container (namespaces)", "container (landlock)", "none"]


def _object(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


REPORT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Report of one graded notebook",
} | _object(
    schema_version={"const": 1},
    notebook=TEXT | {"maxLength": 120, "description": "name of the submitted file"},
    exercise=TEXT | {"minLength": 1},
    points=NUMBER | {"description": "sum over the tasks"},
    max_points=NUMBER,
    isolation={"enum": ISOLATION, "description": "the tier; 'none': believe nothing here"},
    seed={"type": "integer", "description": "seed of the hidden checks"},
    tasks={
        "type": "array",
        "items": _object(
            id=TEXT | {"minLength": 1},
            title=TEXT,
            points=NUMBER | {"description": "max_points or 0"},
            max_points=NUMBER,
            status={"enum": ["passed", "failed", "missing"]},
            feedback={"type": "array", "items": TEXT, "description": "sentences for the student, plain text"},
            mistakes={
                "type": "array",
                "maxItems": 2,
                "items": _object(name=TEXT, hint=TEXT),
                "description": "known mistakes that fail exactly the checks that this answer fails",
            },
            links={
                "type": "array",
                "items": _object(title=TEXT, url=TEXT),
                "description": "places in the book to read again",
            },
            visible={"enum": ["passed", "failed", "not run"], "description": "grants no points"},
        ),
    },
)
