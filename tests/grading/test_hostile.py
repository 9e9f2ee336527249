"""Hostile cells: each scores 0 on the task it is in, leaves the other task's points alone and changes nothing."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import hostile
import pytest
import torch

import course_flows
from course_flows.grading.course import Course
from course_flows.grading.hidden import HiddenResult, grade_source
from course_flows.grading.pool import WorkerPool

ATTACKED, OTHER = "scale-density", "shift-module"


def grade(mini: Course, source: str, pool: WorkerPool) -> HiddenResult:
    outcome = grade_source(mini, "00_mini", {ATTACKED: source}, pool)
    assert outcome.points[ATTACKED] == 0
    assert outcome.points[OTHER] == outcome.max_points[OTHER]
    assert outcome.faults == []
    for results in outcome.results.values():
        for result in results:
            assert "\n" not in result.found
            assert len(result.found) < 400
    return outcome


def test_the_frame_of_the_attacks_itself_gets_the_points(mini: Course, pool: WorkerPool) -> None:
    harmless = "open('own', 'w').write('x')\nos.makedirs('d', exist_ok=True)"
    for source in (hostile.RIGHT, hostile.unless_refused(harmless)):
        outcome = grade_source(mini, "00_mini", {ATTACKED: source}, pool)
        assert outcome.points == outcome.max_points


@pytest.mark.parametrize("name", hostile.REFUSED)
def test_refused(name: str, mini: Course, pool: WorkerPool) -> None:
    package = Path(torch.__file__)
    before = package.stat()
    with socket.create_server(("127.0.0.1", 0)) as server:
        attack = hostile.REFUSED[name].format(
            solution=str(mini.solutions / "00_mini.ipynb"),
            suite=str(mini.suite("00_mini")),
            hidden=str(mini.hidden),
            grader=str(Path(course_flows.__file__).parent / "grading" / "hidden.py"),
            port=server.getsockname()[1],
        )
        grade(mini, hostile.unless_refused(attack), pool)
    after = package.stat()
    assert (before.st_mtime_ns, before.st_size, before.st_mode) == (after.st_mtime_ns, after.st_size, after.st_mode)
    assert not Path("/tmp/course-flows-owned").exists()


@pytest.mark.parametrize("name", hostile.ANSWERS)
def test_answers_that_are_none(name: str, mini: Course, best_pool: WorkerPool) -> None:
    grade(mini, hostile.ANSWERS[name], best_pool)


@pytest.mark.parametrize("name", hostile.LOSSES)
def test_losses(name: str, mini: Course, pool: WorkerPool) -> None:
    start = time.monotonic()
    grade(mini, hostile.LOSSES[name], pool)
    assert time.monotonic() - start < 60


def test_a_thread_that_writes_on_the_wire_scores_nothing(mini: Course, pool: WorkerPool) -> None:
    """It disturbs its own notebook's other cells as well: whose fault a broken frame is cannot be told."""
    assert grade_source(mini, "00_mini", {ATTACKED: hostile.THREAD}, pool).points[ATTACKED] == 0


def test_a_closed_pool_leaves_no_process_and_no_folder(mini: Course) -> None:
    with WorkerPool("landlock") as pool:
        folder, process = pool._folder, pool._process
        worker = pool.spawn()
        assert folder.is_dir()
        assert len(os.listdir(folder)) >= 1
    assert worker.layers
    assert process.poll() is not None
    assert not folder.exists()


def test_student_text_is_tamed(mini: Course, best_pool: WorkerPool) -> None:
    source = "def scale_log_density(x, a):\n    raise ValueError('\\x1b[2J\\n::error::<b>' + '\\u202e' + 'y' * 10**5)"
    outcome = grade(mini, source, best_pool)
    found = outcome.results[ATTACKED][0].found
    assert not any(mark in found for mark in ("\x1b", "\u202e", "::"))
