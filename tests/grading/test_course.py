"""The exercises of the course, graded as a whole: the reference answers and the untouched notebooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from course_flows.grading import notebooks
from course_flows.grading.course import Course
from course_flows.grading.grade import grade_file
from course_flows.grading.pool import WorkerPool

ROOT = Path(__file__).parents[2]
COURSE = Course(ROOT)


@pytest.mark.parametrize("exercise", COURSE.exercise_names())
def test_the_reference_solution_passes_both_stages(exercise: str, best_pool: WorkerPool) -> None:
    report = grade_file(COURSE.solutions / f"{exercise}.ipynb", COURSE, best_pool).report
    assert report["points"] == report["max_points"] > 0
    assert {task["visible"] for task in report["tasks"]} == {"passed"}
    assert [task["feedback"] for task in report["tasks"] if task["feedback"]] == []


@pytest.mark.parametrize("exercise", COURSE.exercise_names())
def test_the_untouched_notebook_has_no_points(exercise: str, best_pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / f"{exercise}.ipynb"
    path.write_text(notebooks.dump(COURSE.release(exercise)), encoding="utf-8")
    report = grade_file(path, COURSE, best_pool).report
    assert report["points"] == 0
    assert {task["visible"] for task in report["tasks"]} == {"failed"}
    assert all(task["feedback"] for task in report["tasks"])


def test_a_poisoned_working_folder_changes_nothing(mini: Course, tmp_path: Path) -> None:
    for name in ("pytest", "conftest", "torch", "course_flows", "sitecustomize", "nbval", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('poisoned')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    program = Path(sys.executable).with_name("course-flows")
    submitted = mini.solutions / "00_mini.ipynb"
    done = subprocess.run(
        [program, "grade", submitted, "--course", mini.root, "--report", tmp_path / "report"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "5 of 5 points" in done.stdout
