"""The rules that nbgrader has for cells (its metadata, schema 3), kept here so that its tools take our notebooks."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import jsonschema
import nbformat
import pytest
from classroom import run

from course_flows.grading import notebooks
from course_flows.grading.course import Course
from course_flows.grading.grade import grade_file
from course_flows.grading.nbgrader import checksum, handed_out
from course_flows.grading.pool import WorkerPool

ROLES = ("grade", "solution", "locked")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "schema_version": {"const": 3},
        **{role: {"type": "boolean"} for role in (*ROLES, "task")},
        "grade_id": {"type": "string", "pattern": r"^[a-zA-Z0-9_\-]+$", "maxLength": 64},
        "points": {"type": "number", "minimum": 0},
        "checksum": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
        "cell_type": {"enum": ["code", "markdown", "raw"]},
    },
    "required": ["schema_version", *ROLES, "grade_id"],
    "additionalProperties": False,
}
COURSES = {"course": Course(Path(__file__).parents[2]), "mini": Course(Path(__file__).parent / "mini")}
SOLUTIONS = [(course, name) for course, found in COURSES.items() for name in found.exercise_names()]
BASE = {"schema_version": 3, "task": False}
CHECK = BASE | {"grade": True, "solution": False, "locked": True, "grade_id": "a-check"}


def marked(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if "nbgrader" in cell["metadata"]]


def faults_of(notebook: dict[str, Any]) -> list[str]:
    """Say what nbgrader would refuse or misread."""
    faults = []
    ids = [notebooks.grade_id(cell) for cell in marked(notebook)]
    faults += [f"two cells are called {name}" for name in set(ids) if ids.count(name) > 1]
    for cell in marked(notebook):
        own, name, kind = cell["metadata"]["nbgrader"], cell.get("id"), cell["cell_type"]
        faults += [f"{name}: {e.message}" for e in jsonschema.Draft202012Validator(SCHEMA).iter_errors(own)]
        if own.get("grade_id") != name:
            faults.append(f"{name}: the id of the cell is not its grade_id")
        if ("points" in own) != own["grade"]:
            faults.append(f"{name}: points belong to graded cells, and to every one of them")
        if not any(own[role] for role in ROLES) or own.get("task"):
            faults.append(f"{name}: the cell has no role, or is a task that a person grades")
        if kind != "code" and (own["grade"] or own["solution"]):
            faults.append(f"{name}: only code can be graded without a person")
        if own.get("cell_type", kind) != kind or own.get("checksum", "") not in ("", found_checksum(cell)):
            faults.append(f"{name}: the cell is not the one that was handed out")
    return faults


def found_checksum(cell: dict[str, Any]) -> str:
    return checksum(cell["cell_type"], notebooks.source_of(cell), cell["metadata"]["nbgrader"])


@pytest.mark.parametrize(("course", "name"), SOLUTIONS)
def test_solutions_and_exercises_keep_the_rules(course: str, name: str) -> None:
    solution, exercise = COURSES[course].solution(name), COURSES[course].release(name)
    for notebook in (solution, exercise):
        nbformat.validate(nbformat.from_dict(notebook))
        assert faults_of(notebook) == []
    assert not any("checksum" in cell["metadata"]["nbgrader"] for cell in marked(solution))
    for cell in marked(exercise):
        assert {"checksum", "cell_type"} <= set(cell["metadata"]["nbgrader"])
        assert cell["metadata"]["deletable"] is False
        assert cell["metadata"].get("editable", True) is notebooks.is_solution(cell)


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"grade_id": "a b"},
        {"grade_id": ""},
        {"points": -1},
        {"comment": "x"},
        {"locked": "yes"},
        {"task": True},
        {"checksum": "0" * 32},
        {"cell_type": "markdown"},
        {"grade": False},
    ],
)
def test_what_breaks_a_rule_is_found(change: dict[str, Any]) -> None:
    def notebook(own: dict[str, Any]) -> dict[str, Any]:
        return {"cells": [{"cell_type": "code", "id": "a-check", "source": "x", "metadata": {"nbgrader": own}}]}

    assert faults_of(notebook(CHECK | {"points": 1})) == []
    assert faults_of(notebook(CHECK))
    assert faults_of(notebook(CHECK | {"points": 1} | change))
    twice = notebook(CHECK | {"points": 1})
    assert faults_of({"cells": twice["cells"] * 2})


@pytest.mark.parametrize(
    ("kind", "source", "own", "wanted"),
    [
        ("code", "x = 1\n", CHECK | {"points": 3}, "eb6caacd93c7a081fb35662ba373ab9f"),
        ("code", "x = 1\n", CHECK | {"points": 2.5}, "f6dfcd70bef04ce3b03b262a51ec3ef3"),
        (
            "code",
            "def f(é):\n    raise NotImplementedError",
            BASE | {"grade": False, "solution": True, "locked": False, "grade_id": "a"},
            "6780cfd61e8fa69e5a041707df262824",
        ),
        (
            "markdown",
            "# Größe",
            BASE | {"grade": False, "solution": False, "locked": True, "grade_id": "a-text"},
            "cd7801fe59e2631b0f594f854e5f0517",
        ),
    ],
)
def test_checksums_are_those_of_nbgrader(kind: str, source: str, own: dict[str, Any], wanted: str) -> None:
    # the wanted ones were computed by nbgrader 0.9.6
    assert checksum(kind, source, own) == wanted
    assert handed_out(kind, source, {"nbgrader": own})["nbgrader"]["checksum"] == wanted


def test_a_cell_without_a_role_is_left_alone() -> None:
    for metadata in ({}, {"tags": ["x"]}, {"nbgrader": BASE | dict.fromkeys(ROLES, False)}):
        assert handed_out("code", "x", metadata) == metadata


@pytest.mark.parametrize(("course", "name"), SOLUTIONS)
def test_marks_of_solutions_are_read_alike(course: str, name: str) -> None:
    """Nbgrader takes any line that holds the words; here the whole line is the mark."""
    for cell in COURSES[course].solution(name)["cells"]:
        for line in notebooks.source_of(cell).splitlines():
            if re.search("(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)|AUTOTEST", line):
                assert line.strip() in (notebooks.BEGIN, notebooks.END)
                assert notebooks.is_solution(cell)


@pytest.mark.parametrize(("course", "name"), SOLUTIONS)
def test_checks_give_all_points_or_none(course: str, name: str) -> None:
    """Nbgrader reads a number that a check cell ends with as points, and anything on stderr as a failure."""
    for cell in filter(notebooks.is_check, COURSES[course].solution(name)["cells"]):
        last = ast.parse(notebooks.source_of(cell)).body[-1]
        assert isinstance(last, ast.Expr)
        assert ast.unparse(last.value).startswith("print(")
        assert {(output["output_type"], output["name"]) for output in cell["outputs"]} <= {("stream", "stdout")}


def as_nbgrader_hands_it_out(mini: Course, target: Path) -> Path:
    """Write the tiny exercise with nbgrader's own stub, and without what only this course's release adds."""
    notebook = mini.release("00_mini")
    for cell in notebook["cells"]:
        cell["metadata"].pop("course_flows", None)
        cell["source"] = re.sub(r"NotImplementedError\(.*\)", "NotImplementedError()", cell["source"])
    target.write_text(notebooks.dump(notebook), encoding="utf-8")
    return target


def test_what_nbgrader_handed_out_can_be_checked_and_graded(
    mini: Course, best_pool: WorkerPool, tmp_path: Path
) -> None:
    path = as_nbgrader_hands_it_out(mini, tmp_path / "nb.ipynb")
    report = grade_file(path, mini, best_pool).report
    assert [task["feedback"] for task in report["tasks"]] == [["This task is not written yet."]] * 2
    notebook = notebooks.load(path.read_bytes())
    solved = {cell["id"]: cell for cell in mini.solution("00_mini")["cells"]}
    for cell in filter(notebooks.is_solution, notebook["cells"]):
        cell["source"] = solved[cell["id"]]["source"]
    path.write_text(notebooks.dump(notebook), encoding="utf-8")
    assert grade_file(path, mini, best_pool, visible=False).report["points"] == 5
    done = run("check", path)
    assert (done.returncode, done.stdout.count(": passed")) == (0, 2), done.stderr
