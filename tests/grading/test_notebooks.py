"""Notebooks as data: the student's version, what is taken out of a submission, and the generated files."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from course_flows.grading import notebooks
from course_flows.grading.course import Course
from course_flows.grading.notebooks import NotebookError, cut_solutions
from course_flows.grading.release import stale_exercises, write_bundle, write_exercises

REAL = Course(Path(__file__).parents[2])


def answered(course: Course) -> tuple[list[str], list[str]]:
    cells = [cell for cell in course.solution("00_mini")["cells"] if notebooks.is_solution(cell)]
    return [notebooks.grade_id(cell) or "" for cell in cells], [notebooks.source_of(cell) for cell in cells]


def test_solutions_are_cut_and_everything_else_stays(mini: Course) -> None:
    released = mini.release("00_mini")
    text = notebooks.dump(released)
    assert "SECRET" not in text
    assert "BEGIN SOLUTION" not in text
    source = {cell["id"]: cell["source"] for cell in released["cells"]}
    assert source["scale-density"].endswith(
        '    # YOUR CODE HERE\n    raise NotImplementedError("scale_log_density is not written yet")'
    )
    assert 'raise NotImplementedError("Shift.__init__ is not written yet")' in source["shift-module"]
    assert "        super().__init__()\n" in source["shift-module"]
    compile(source["shift-module"], "cell", "exec")
    original = {cell["id"]: notebooks.source_of(cell) for cell in mini.solution("00_mini")["cells"]}
    assert {name: source[name] for name in ("setup", "scale-text")} == {
        name: original[name] for name in ("setup", "scale-text")
    }


def test_expected_outputs_are_kept_and_outputs_dropped(mini: Course) -> None:
    for cell in mini.release("00_mini")["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        if notebooks.is_check(cell):
            name = cell["id"].removesuffix("-check")
            assert cell["metadata"]["course_flows"]["expected"] == f"{name}: visible checks passed"


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        "### BEGIN SOLUTION\nx = 1",
        "### END SOLUTION",
        "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION",
        "### BEGIN SOLUTION\n### END SOLUTION\n### END SOLUTION",
    ],
)
def test_broken_markers_are_named(source: str) -> None:
    with pytest.raises(NotebookError, match="some-task"):
        cut_solutions(source, "some-task")


def test_a_solution_outside_a_solution_cell_is_refused(mini: Course) -> None:
    solution = mini.solution("00_mini")
    solution["cells"][2]["source"] = "### BEGIN SOLUTION\nsecret = 1\n### END SOLUTION"
    with pytest.raises(NotebookError, match="setup"):
        notebooks.student_version(solution, "00_mini")


def test_only_solution_cells_are_taken_from_a_submission(mini: Course) -> None:
    pristine = mini.release("00_mini")
    ids, sources = answered(mini)
    rebuilt, problems = notebooks.fill(
        pristine, [*ids, "setup", "scale-density-check", "new"], [*sources, "evil", "evil", "evil"]
    )
    assert problems == {}
    assert "evil" not in notebooks.dump(rebuilt)
    changed = [a["id"] for a, b in zip(pristine["cells"], rebuilt["cells"]) if a != b]
    assert changed == ids


def test_deleted_and_duplicated_cells_are_named(mini: Course) -> None:
    ids, sources = answered(mini)
    rebuilt, problems = notebooks.fill(mini.release("00_mini"), [ids[1], ids[1]], [sources[1], "x = 1"])
    assert set(problems) == set(ids)
    assert "missing" in problems[ids[0]]
    assert "2 cells" in problems[ids[1]]
    assert notebooks.dump(rebuilt) == notebooks.dump(mini.release("00_mini"))


JUNK: list[Any] = [
    {},
    [],
    None,
    {"cells": {}, "nbformat": 4},
    {"cells": [], "nbformat": 3},
    {"cells": [1, None, {"metadata": []}, {"metadata": {"nbgrader": 3}}], "nbformat": 4, "metadata": 5},
    {"cells": [{"metadata": {"nbgrader": {"grade_id": "a"}}, "cell_type": "code", "source": {"x": 1}}], "nbformat": 4},
]


@pytest.mark.parametrize("junk", [*(json.dumps(value).encode() for value in JUNK), b"", b"\xff\xfe", b"[" * 10**5])
def test_junk_gives_a_sentence_or_nothing(junk: bytes) -> None:
    found = notebooks.submission_sources(junk)
    assert found["problem"].startswith("The file is not a notebook") or set(found["ids"]) <= {"a"}


def test_generation_is_deterministic_and_staleness_is_found(mini: Course, tmp_path: Path) -> None:
    course = Course(tmp_path)
    course.solutions.mkdir()
    (course.solutions / "00_mini.ipynb").write_bytes((mini.solutions / "00_mini.ipynb").read_bytes())
    path = course.exercises / "00_mini.ipynb"
    assert write_exercises(course) == [path]
    first = path.read_bytes()
    assert write_exercises(course) == []
    path.write_bytes(first.replace(b"Call function", b"Call it"))
    (course.exercises / "old.ipynb").write_text("{}")
    assert stale_exercises(course) == [path, course.exercises / "old.ipynb"]
    write_exercises(course)
    assert path.read_bytes() == first
    assert stale_exercises(course) == []
    assert not (course.exercises / "old.ipynb").exists()


def test_the_exercises_of_the_course_are_fresh() -> None:
    assert stale_exercises(REAL) == []


def test_a_rerun_of_a_solution_notebook_changes_nothing(mini: Course) -> None:
    solution = mini.solution("00_mini")
    rerun = copy.deepcopy(solution)
    for cell in rerun["cells"]:
        cell["metadata"]["execution"] = {"iopub.execute_input": "2030-01-01"}
        if cell["cell_type"] == "code":
            cell["execution_count"] = 17
    versions = [notebooks.dump(notebooks.student_version(one, "00_mini")) for one in (solution, rerun)]
    assert versions[0] == versions[1]


@pytest.mark.parametrize("name", ["mini", "real"])
def test_the_bundle_holds_nothing_of_solutions_suites_and_answers(name: str, mini: Course, tmp_path: Path) -> None:
    course = {"mini": mini, "real": REAL}[name]
    files = write_bundle(course, tmp_path / "bundle")
    assert {path.parts[0] for path in files} <= {
        "exercises",
        "course_flows",
        "README.md",
        "requirements.txt",
        "pyproject.toml",
        "LICENSE",
    }
    assert Path("README.md") in files
    everything = "\n".join((tmp_path / "bundle" / path).read_text(encoding="utf-8") for path in files)
    for secret in secrets_of(course):
        assert secret not in everything, f"the bundle holds {secret!r}"


def secrets_of(course: Course) -> list[str]:
    """Return the solution regions, the texts of hidden suites and the answers, whole and their long parts."""
    regions = []
    for exercise in course.exercise_names():
        for cell in course.solution(exercise)["cells"]:
            for part in notebooks.source_of(cell).split("### BEGIN SOLUTION\n")[1:]:
                regions.append(part.split("### END SOLUTION")[0].strip())
    suites = [path.read_text(encoding="utf-8") for path in course.hidden.glob("test_*.py")]
    sentences = [line.strip() for suite in suites for line in suite.splitlines() if line.startswith("@property_of")]
    answers = [path.read_text(encoding="utf-8") for path in course.answers.rglob("*.py")]
    mistakes = [line for answer in answers for line in answer.splitlines() if line.startswith("# mistake: ")]
    found = [text for text in (*regions, *suites, *sentences, *answers, *mistakes) if len(text) > 40]
    assert len(found) > len(course.exercise_names())
    return found
