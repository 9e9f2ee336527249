"""Verdicts do not depend on the seed: the reference and the answer bank, under many seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hands import hands_of, judge_hand

from course_flows.grading.bank import answers_of
from course_flows.grading.course import Course
from course_flows.grading.pool import WorkerPool

COURSE = Course(Path(__file__).parents[2])
FEW, MANY = 5, 200
HANDS_PER_SEED = 2


def verdicts_differ(exercise: str, seed: int, pool: WorkerPool) -> list[str]:
    """Grade the reference and, in turn, two notebooks made of the bank's answers."""
    hands = hands_of(COURSE, exercise)
    chosen = [hands[(HANDS_PER_SEED * seed + n) % len(hands)] for n in range(HANDS_PER_SEED)]
    return [line for hand in ({}, *chosen) for line in judge_hand(COURSE, exercise, hand, pool, seed)]


@pytest.mark.parametrize("exercise", COURSE.exercise_names())
def test_hands_hold_the_whole_bank(exercise: str) -> None:
    held = {answer.name for hand in hands_of(COURSE, exercise) for answer in hand.values()}
    assert held == {answer.name for answer in answers_of(COURSE, exercise)}


@pytest.mark.parametrize("exercise", COURSE.exercise_names())
@pytest.mark.parametrize("seed", range(1, FEW + 1))
def test_verdicts_are_equal_under_a_few_seeds(exercise: str, seed: int, best_pool: WorkerPool) -> None:
    assert verdicts_differ(exercise, seed, best_pool) == []


@pytest.mark.slow
@pytest.mark.parametrize("exercise", COURSE.exercise_names())
@pytest.mark.parametrize("seed", range(FEW + 1, MANY + 1))
def test_verdicts_are_equal_under_many_seeds(exercise: str, seed: int, best_pool: WorkerPool) -> None:
    assert verdicts_differ(exercise, seed, best_pool) == []
