"""The bodies of the commands for teachers of a class: they print sentences and return an exit status."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from course_flows.grading.batch import Batch, grade_class
from course_flows.grading.classbook import ClassBook, merge, write_class
from course_flows.grading.course import Course, CourseError, find_course
from course_flows.grading.isolation import UNSAFE_BANNER, IsolationError, open_pool
from course_flows.grading.mistakes import (
    Mistake,
    compute_signatures,
    load_mistakes,
    merge_signatures,
    signatures_path,
    signatures_text,
    stale_signatures,
)
from course_flows.grading.pool import PoolError
from course_flows.grading.submissions import BatchError
from course_flows.grading.text import one_line

__all__ = ["grade_folder", "merge_folders", "signatures"]

FINE, FAILED, NO_CLASS, NOT_ISOLATED, INTERRUPTED = 0, 1, 2, 3, 130
SHOWN_PROBLEMS = 20


def grade_folder(batch: Batch) -> int:
    """Grade a folder of submissions and write the results of the class."""
    from tqdm import tqdm

    def announce(tier: str) -> None:
        if tier == "none":
            tqdm.write(UNSAFE_BANNER, file=sys.stderr)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tqdm(desc="submissions", unit="", dynamic_ncols=True) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            grade_class(batch, progress, announce)
    except BatchError as error:
        return _say(str(error), NO_CLASS)
    except IsolationError as error:
        return _say(str(error), NOT_ISOLATED)
    except (CourseError, PoolError) as error:
        return _say(str(error), FAILED)
    except KeyboardInterrupt:
        return _say("Stopped. The same command goes on from here.", INTERRUPTED)
    return _told(write_class(batch.report), batch.report)


def merge_folders(parts: Sequence[Path], report: Path) -> int:
    """Put the results of shards together."""
    try:
        book = merge(parts, report)
    except BatchError as error:
        return _say(str(error), FAILED)
    return _told(book, report)


def signatures(course: Path | None, exercises: Sequence[str], check_only: bool, add: bool = False) -> int:
    """Compute how every wrong answer of `exercises` (none: of all) fails; write it down, or say what is stale.

    With `add` manners of failing that are stored stay beside those that this machine sees.
    """
    try:
        found = find_course(course)
        names = found.exercise_names()
        if unknown := sorted(set(exercises) - set(names)):
            raise CourseError(f"expected exercises of {', '.join(names)}, found {', '.join(unknown)}.")
        with open_pool() as pool:
            stale = []
            for exercise in exercises or names:
                stored, computed = _stored(found, exercise), compute_signatures(found, exercise, pool)
                changed = stale_signatures(stored, computed)
                stale += [f"{exercise}/{name}" for name in changed]
                if not check_only and computed:
                    path = signatures_path(found, exercise)
                    merged = merge_signatures(stored, computed, add)
                    path.write_text(signatures_text(exercise, merged), encoding="utf-8")
    except IsolationError as error:
        return _say(str(error), NOT_ISOLATED)
    except (CourseError, PoolError) as error:
        return _say(str(error), FAILED)
    for name in stale:
        click.echo(f"{'stale' if check_only else 'changed'}: {name}")
    return FAILED if check_only and stale else FINE


def _stored(course: Course, exercise: str) -> list[Mistake]:
    try:
        return load_mistakes(course, exercise)
    except CourseError:
        return []  # a file that cannot be read is written anew


def _told(book: ClassBook, report: Path) -> int:
    for entry in book.not_graded[:SHOWN_PROBLEMS]:
        _say(f"not graded: {entry['file']}: {entry['problem']}", FAILED)
    for name in book.batch["ignored"][:SHOWN_PROBLEMS]:
        _say(f"no submission: {name}", FINE)
    counted = f"{len(book.entries)} submissions, {len(book.counted)} of them count"
    click.echo(f"{counted}; the results are in {report} (class.csv, overview.html, summary.md)")
    return FAILED if book.not_graded else FINE


def _say(text: str, status: int) -> int:
    click.echo(one_line(text, 2000), err=True)
    return status
