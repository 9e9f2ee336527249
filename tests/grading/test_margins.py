"""Tolerances of the hidden suites leave room for other processors: right answers do with a tenth of each."""

from __future__ import annotations

from pathlib import Path

import pytest
from hands import Hand, judge_hand

from course_flows.grading import suite
from course_flows.grading.bank import answers_of
from course_flows.grading.course import Course
from course_flows.grading.pool import WorkerPool
from course_flows.grading.properties import assert_close

pytestmark = pytest.mark.elsewhere
COURSE = Course(Path(__file__).parents[2])
ROOM = 10


def right_hands(exercise: str) -> list[Hand]:
    """Return notebooks in which every right answer of the bank takes part, and the reference."""
    tasks: dict[str, list] = {}
    for answer in answers_of(COURSE, exercise):
        if answer.is_right:
            tasks.setdefault(answer.task, []).append(answer)
    longest = max(map(len, tasks.values()))
    return [{}, *({task: found[n % len(found)] for task, found in tasks.items()} for n in range(longest))]


@pytest.mark.parametrize("exercise", COURSE.exercise_names())
def test_right_answers_need_a_tenth_of_each_tolerance(
    exercise: str, best_pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strict(found, expected, tolerance, *, relative=0.0, what="the result"):
        assert_close(found, expected, tolerance / ROOM, relative=relative / ROOM, what=what)

    monkeypatch.setattr(suite, "assert_close", strict)
    complaints = [text for hand in right_hands(exercise) for text in judge_hand(COURSE, exercise, hand, best_pool)]
    assert complaints == []


def test_a_tight_tolerance_is_seen(best_pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    def hopeless(found, expected, tolerance, *, relative=0.0, what="the result"):
        assert_close(found, expected, 0.0, what=what)

    monkeypatch.setattr(suite, "assert_close", hopeless)
    complaints = judge_hand(COURSE, "02_triangular_jacobians", {}, best_pool)
    assert any("differs from what is right" in text for text in complaints)
