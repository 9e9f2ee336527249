"""The bodies of the grading commands of ``course-flows``: they print sentences and return an exit status."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from course_flows.grading.course import CourseError, find_course
from course_flows.grading.notebooks import NotebookError, load, tasks_of
from course_flows.grading.text import one_line

__all__ = ["check", "exercises", "grade", "grade_folder", "grade_in_container", "isolation", "release"]

GRADED, FAILED, NOT_A_NOTEBOOK, NOT_ISOLATED = 0, 1, 2, 3


def grade(
    notebook: Path,
    report: Path,
    course: Path | None,
    exercise: str | None,
    seed: int,
    unsafe: bool,
    visible: bool = True,
    book_url: str = "",
) -> int:
    """Grade a notebook and write its report."""
    from course_flows.grading.grade import grade_file
    from course_flows.grading.isolation import UNSAFE_BANNER, IsolationError, open_pool
    from course_flows.grading.pool import PoolError
    from course_flows.grading.report import write_report

    try:
        found = find_course(course)
        with open_pool(unsafe=unsafe) as pool:
            if pool.tier == "none":
                click.echo(UNSAFE_BANNER, err=True)
            grading = grade_file(
                notebook, found, pool, exercise=exercise, seed=seed, visible=visible, book_url=book_url
            )
    except NotebookError as error:
        return _say(str(error), NOT_A_NOTEBOOK)
    except IsolationError as error:
        return _say(str(error), NOT_ISOLATED)
    except (CourseError, PoolError) as error:
        return _say(str(error), FAILED)
    try:
        write_report(grading.report, report)
    except OSError as error:
        return _say(f"The report cannot be written to {report}: {error.strerror}.", FAILED)
    for fault in grading.faults:
        _say(f"note for the teacher: the hidden test {fault}", GRADED)
    result = grading.report
    for task in result["tasks"]:
        click.echo(f"{task['points']:g}/{task['max_points']:g}  {task['id']}")
    click.echo(f"{result['points']:g} of {result['max_points']:g} points; the report is in {report}")
    return GRADED


def grade_folder(folder: Path, report: Path, course: Path | None, jobs: int | None, **options: Any) -> int:
    """Grade a folder of submissions."""
    from course_flows.grading import class_commands
    from course_flows.grading.batch import Batch

    try:
        found = find_course(course)
    except CourseError as error:
        return _say(str(error), FAILED)
    return class_commands.grade_folder(
        Batch(folder=folder, report=report, course=found, jobs=jobs or _cores(), **options)
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def grade_in_container(
    notebook: Path,
    report: Path,
    course: Path | None,
    image: str,
    engine: str | None,
    jobs: int | None,
    options: Sequence[str],
) -> int:
    """Grade a notebook or a folder of them in a container, with the options of ``grade`` that are passed on."""
    from course_flows.grading.container import binds_of
    from course_flows.grading.files import read_file
    from course_flows.grading.limits import Limits

    arguments = ["grade", "/submissions", "--course=/course", "--report=/report", *options]
    try:
        found = find_course(course)
        if notebook.is_dir():
            jobs = jobs or _cores()
            arguments.append(f"--jobs={jobs}")
        else:
            read_file(notebook, Limits().notebook_bytes)  # the engine would follow a link
            jobs, arguments[1] = 1, f"/submissions/{notebook.name}"
    except NotebookError as error:
        return _say(str(error), NOT_A_NOTEBOOK)
    except CourseError as error:
        return _say(str(error), FAILED)
    is_new = not report.exists()
    report.mkdir(parents=True, exist_ok=True)
    status = _in_container(image, engine, arguments, jobs, binds_of(found, notebook, arguments[1], report))
    if status == GRADED:
        click.echo(f"/report in the container is {report}")
    elif is_new:
        with contextlib.suppress(OSError):
            report.rmdir()  # only where nothing was written
    return status


def _in_container(image: str, engine: str | None, arguments: Sequence[str], jobs: int = 1, binds: Any = ()) -> int:
    from course_flows.grading.container import ENGINES, container_command, find_engine, run_container

    program = find_engine(engine)
    if program is None:
        wanted = engine or " or ".join(ENGINES)
        return _say(f"Nothing was run: no {wanted} was found on PATH to start a container with.", NOT_ISOLATED)
    status = run_container(container_command(program, image, arguments, binds, jobs))
    if status is None:
        return _say(
            f"Nothing was run: the container could not be started. If the image {image} is not there yet, build it in "
            f"the folder of the course: {Path(program).stem} build --tag {image} --file .ci/Containerfile .",
            NOT_ISOLATED,
        )
    return status


def check(notebook: Path) -> int:
    """Run the visible checks of a notebook, for its own author, and say what each found."""
    from course_flows.grading.files import read_file
    from course_flows.grading.limits import Limits
    from course_flows.grading.visible import run_visible

    try:
        content = load(read_file(notebook, Limits().notebook_bytes))
        tasks = tasks_of(content)
        if not tasks:
            raise NotebookError("The notebook holds no tasks of this course.")
        found = run_visible(content, "none")
    except (NotebookError, KeyError, TypeError, AttributeError) as error:
        text = str(error) if isinstance(error, NotebookError) else "The notebook's cells are not as they should be."
        return _say(text, NOT_A_NOTEBOOK)
    for task in tasks:
        seen = found[task.name]
        click.echo(f"{task.name}: {seen.status}" + (f": {seen.text}" if seen.text else ""))
    return GRADED if all(seen.status == "passed" for seen in found.values()) else FAILED


def exercises(course: Path | None, check_only: bool) -> int:
    """Write exercises/ from solutions/, or say which files are stale."""
    from course_flows.grading.release import stale_exercises, write_exercises

    try:
        found = find_course(course)
        files = stale_exercises(found) if check_only else write_exercises(found)
    except CourseError as error:
        return _say(str(error), FAILED)
    word = "stale" if check_only else "changed"
    for path in files:
        click.echo(f"{word}: exercises/{path.name}")
    return FAILED if check_only and files else GRADED


def release(target: Path, course: Path | None) -> int:
    """Write the students' bundle."""
    from course_flows.grading.release import write_bundle

    try:
        files = write_bundle(find_course(course), target)
    except CourseError as error:
        return _say(str(error), FAILED)
    click.echo(f"{len(files)} files for students are in {target}")
    return GRADED


def isolation(image: str | None = None, engine: str | None = None) -> int:
    """Say which tiers of isolation this machine offers, or a container on it."""
    from course_flows.grading.container import find_engine, in_container, tier_name
    from course_flows.grading.isolation import TIERS, probe

    if image is not None:
        return _in_container(image, engine, ["isolation"])
    found = probe()
    for each in found:
        click.echo(f"{each.tier}: {'works' if each.works else 'does not work'} ({each.detail}); {TIERS[each.tier]}")
    if not in_container():
        program = find_engine(engine)
        said = f"not tried ({program} is there)" if program else "cannot be had (no docker or podman on PATH)"
        click.echo(f"container: {said}; {TIERS['container']}")
    best = next((each.tier for each in found if each.works), None)
    if best is None:
        return _say(
            "Student code cannot be isolated here: course-flows grade will refuse, except with --container.",
            NOT_ISOLATED,
        )
    click.echo(f"course-flows grade uses: {tier_name(best)}")
    return GRADED


def _say(text: str, status: int) -> int:
    click.echo(one_line(text, 2000), err=True)
    return status
