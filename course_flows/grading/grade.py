"""Grading one submitted notebook from file to report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_flows.grading import notebooks
from course_flows.grading.confine import readable_paths
from course_flows.grading.container import tier_name
from course_flows.grading.course import Course, CourseError
from course_flows.grading.files import read_file
from course_flows.grading.hidden import grade_notebook
from course_flows.grading.isolation import IsolationError
from course_flows.grading.links import resolve
from course_flows.grading.mistakes import load_mistakes, recognize
from course_flows.grading.pool import WorkerPool
from course_flows.grading.report import build_report
from course_flows.grading.submission import Submission, read_submission
from course_flows.grading.text import one_line
from course_flows.grading.visible import Visible, run_visible

__all__ = ["Grading", "grade_data", "grade_file"]


@dataclass(frozen=True)
class Grading:
    """A report, and what the hidden suite's author should look at."""

    report: dict[str, Any]
    faults: list[str]


def grade_file(
    path: Path,
    course: Course,
    pool: WorkerPool,
    *,
    exercise: str | None = None,
    seed: int = 0,
    visible: bool = True,
    book_url: str = "",
) -> Grading:
    """Grade one notebook. Raises NotebookError for a file that is none, CourseError where the course is broken.

    Only the solution cells of the submission are used; they go into the released notebook. ``book_url`` is where the
    built book is to be read; without it links are relative.
    """
    data = read_file(path, pool.limits.notebook_bytes)
    return grade_data(data, path.name, course, pool, exercise=exercise, seed=seed, visible=visible, book_url=book_url)


def grade_data(
    data: bytes,
    file_name: str,
    course: Course,
    pool: WorkerPool,
    *,
    exercise: str | None = None,
    seed: int = 0,
    visible: bool = True,
    book_url: str = "",
) -> Grading:
    """Grade the bytes of one notebook; see `grade_file`."""
    check_course_is_hidden(course, pool)
    submission = read_submission(data, pool)
    name = choose_exercise(course, exercise, submission, file_name)
    rebuilt, problems = notebooks.fill(course.release(name), submission.ids, submission.sources)
    tasks = notebooks.tasks_of(rebuilt)
    hidden = grade_notebook(course, name, rebuilt, pool, seed)
    if hidden.untested:
        raise CourseError(f"No hidden test of {name} is about the task {', '.join(hidden.untested)}.")
    seen = run_visible(rebuilt, pool.tier, pool.limits) if visible else {}
    report = build_report(
        notebook=file_name,
        exercise=name,
        isolation=tier_name(pool.tier),
        seed=seed,
        tasks=tasks,
        problems=problems,
        hidden=hidden,
        visible={task.name: seen.get(task.name, Visible("not run")) for task in tasks},
        mistakes=recognize(load_mistakes(course, name), hidden),
        link=lambda label: resolve(course.book, label, book_url),
    )
    return Grading(report, [fault.splitlines()[0] for fault in hidden.faults])


def choose_exercise(course: Course, wanted: str | None, submission: Submission, file_name: str) -> str:
    """Return which exercise a submission answers: what was asked for, what the notebook says, or its file name."""
    known = course.exercise_names()
    candidates = [wanted] if wanted is not None else [submission.exercise, Path(file_name).stem]
    for candidate in candidates:
        if candidate in known:
            return candidate
    shown = one_line(" or ".join(candidate for candidate in candidates if candidate), 120)
    raise notebooks.NotebookError(
        f"The notebook belongs to no known exercise ({shown}); there are: {', '.join(known)}. Name it with --exercise."
    )


def check_course_is_hidden(course: Course, pool: WorkerPool) -> None:
    """Refuse a course whose suites or solutions lie where a locked worker can read."""
    if pool.tier == "none":
        return
    for readable in readable_paths():
        for folder in (course.solutions, course.hidden, course.answers):
            if folder.resolve().is_relative_to(readable.resolve()):
                raise IsolationError(
                    f"Nothing was run: {folder} lies in {readable}, which student code may read. Move the course."
                )
