"""Grades the answer bank of an exercise: ``python -m course_flows.grading.bank EXERCISE [TASK] [--course DIR]``.

The reference solution and every ``right_*.py`` must get full points, every ``wrong_*.py`` must fail its own task and
no other.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click

from course_flows.grading.course import Course, CourseError, find_course
from course_flows.grading.hidden import HiddenResult, grade_source
from course_flows.grading.isolation import IsolationError, open_pool
from course_flows.grading.notebooks import tasks_of
from course_flows.grading.pool import WorkerPool

__all__ = ["Answer", "answers_of", "bank_gaps", "judge"]

MIN_RIGHT, MIN_WRONG = 2, 1


@dataclass(frozen=True)
class Answer:
    """One file of the bank."""

    exercise: str
    task: str
    path: Path

    @property
    def is_right(self) -> bool:
        """Whether the file claims to be a right answer."""
        return self.path.name.startswith("right_")

    @property
    def name(self) -> str:
        """A short name for tables and test ids."""
        return f"{self.exercise}/{self.task}/{self.path.stem}"


def answers_of(course: Course, exercise: str, task: str | None = None) -> list[Answer]:
    """Return the answers that the bank holds, sorted."""
    pattern = f"{task or '*'}/*.py"
    paths = sorted((course.answers / exercise).glob(pattern))
    return [Answer(exercise, path.parent.name, path) for path in paths]


def bank_gaps(course: Course, exercise: str) -> list[str]:
    """Say in sentences what the bank of an exercise lacks or has too much."""
    gaps = []
    answers = answers_of(course, exercise)
    tasks = [task.name for task in tasks_of(course.solution(exercise))]
    for task in tasks:
        own = [answer for answer in answers if answer.task == task]
        right = sum(answer.is_right for answer in own)
        if right < MIN_RIGHT:
            gaps.append(f"{exercise}/{task}: {right} right answers, at least {MIN_RIGHT} are needed")
        if len(own) - right < MIN_WRONG:
            gaps.append(f"{exercise}/{task}: {len(own) - right} wrong answers, at least {MIN_WRONG} are needed")
    for answer in answers:
        if answer.task not in tasks:
            gaps.append(f"{answer.name}: the exercise has no such task")
        if not answer.path.name.startswith(("right_", "wrong_")):
            gaps.append(f"{answer.name}: a file of the bank is called right_*.py or wrong_*.py")
        lines = [*answer.path.read_text(encoding="utf-8").splitlines()[:2], "", ""]
        if not answer.is_right and not (lines[0].startswith("# mistake: ") and lines[1].startswith("# hint: ")):
            gaps.append(f"{answer.name}: a wrong answer begins with the lines '# mistake: …' and '# hint: …'")
    return gaps


def judge(course: Course, answer: Answer, pool: WorkerPool) -> tuple[list[str], HiddenResult]:
    """Grade one answer; return in sentences where it did not do as its name promises."""
    source = answer.path.read_text(encoding="utf-8")
    outcome = grade_source(course, answer.exercise, {answer.task: source}, pool)
    complaints = []
    for task, points in outcome.points.items():
        if task in outcome.untested and task != answer.task:
            continue
        wanted = outcome.max_points[task] if answer.is_right or task != answer.task else 0
        if points != wanted:
            found = [f"{r.name}: {r.found or 'passed'}" for r in outcome.results[task] if r.failed or wanted == 0]
            complaints.append(f"{task} got {points:g} points, {wanted:g} were expected ({'; '.join(found)})")
    return complaints, outcome


def _failed(outcome: HiddenResult, task: str) -> str:
    return "; ".join(f"{r.name}: {r.found}" for r in outcome.results[task] if r.failed)


def _report(name: str, complaints: list[str], outcome: HiddenResult, seconds: float) -> bool:
    click.echo(f"{'ok   ' if not complaints else 'WRONG'} {seconds:5.1f} s  {name}")
    for complaint in complaints:
        click.echo(f"        {complaint}")
    for cell, text in outcome.cell_errors.items():
        click.echo(f"        cell {cell}: {text}")
    for fault in outcome.faults:
        click.echo("        suite: " + fault.replace("\n", "\n        "))
    return not complaints


def run_bank(exercise: str, task: str | None, folder: Path | None) -> bool:
    """Print a table of the reference solution and all answers; return whether all did as they should."""
    course = find_course(folder)
    gaps = bank_gaps(course, exercise)
    with open_pool() as pool:
        start = time.monotonic()
        outcome = grade_source(course, exercise, {}, pool)
        complaints = [
            f"{name} got {points:g} of {outcome.max_points[name]:g}: {_failed(outcome, name)}"
            for name, points in outcome.points.items()
            if points != outcome.max_points[name]
        ]
        gaps += [f"{exercise}/{name}: no hidden test is about this task" for name in outcome.untested]
        fine = _report("reference solution", complaints, outcome, time.monotonic() - start)
        for answer in answers_of(course, exercise, task):
            start = time.monotonic()
            complaints, outcome = judge(course, answer, pool)
            fine &= _report(answer.name, complaints, outcome, time.monotonic() - start)
            if not answer.is_right:
                for result in outcome.results[answer.task]:
                    if result.failed:
                        click.echo(f"           {result.property.sentence} | {result.found}")
    for gap in gaps:
        click.echo(f"GAP     {gap}")
    return fine and not gaps


@click.command()
@click.argument("exercise")
@click.argument("task", required=False)
@click.option("--course", "folder", type=click.Path(path_type=Path), help="Folder with solutions/ and tests/.")
def main(exercise: str, task: str | None, folder: Path | None) -> None:
    """Grade the reference solution and the answer bank of EXERCISE (of one TASK)."""
    try:
        fine = run_bank(exercise, task, folder)
    except (CourseError, IsolationError) as error:
        raise SystemExit(str(error)) from None
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
