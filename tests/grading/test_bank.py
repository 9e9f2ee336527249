"""The answer bank: right answers get full points, wrong ones fail their own task and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hands import hands_of, judge_hand, not_recognized

from course_flows.grading.bank import Answer, answers_of, bank_gaps, judge
from course_flows.grading.course import Course
from course_flows.grading.hidden import grade_source
from course_flows.grading.pool import WorkerPool

COURSES = {"course": Course(Path(__file__).parents[2]), "mini": Course(Path(__file__).parent / "mini")}
EXERCISES = [(name, exercise) for name, course in COURSES.items() for exercise in course.exercise_names()]
HANDS = [(name, e, n) for name, e in EXERCISES for n in range(len(hands_of(COURSES[name], e)))]
ANSWERS = [(name, answer) for name, exercise in EXERCISES for answer in answers_of(COURSES[name], exercise)]


def test_there_are_exercises() -> None:
    assert {name for name, _ in EXERCISES} == set(COURSES)


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_every_task_has_right_and_wrong_answers(name: str, exercise: str) -> None:
    assert bank_gaps(COURSES[name], exercise) == []


@pytest.mark.parametrize(("name", "exercise"), EXERCISES)
def test_the_reference_solution_has_full_points(name: str, exercise: str, best_pool: WorkerPool) -> None:
    outcome = grade_source(COURSES[name], exercise, {}, best_pool)
    assert outcome.untested == []
    assert outcome.faults == []
    assert outcome.points == outcome.max_points


@pytest.mark.parametrize(("name", "exercise", "number"), HANDS, ids=[f"{e}-{n}" for _, e, n in HANDS])
def test_answers_of_a_notebook(name: str, exercise: str, number: int, best_pool: WorkerPool) -> None:
    """Every answer of the bank does as its name promises, beside answers to the other tasks."""
    assert judge_hand(COURSES[name], exercise, hands_of(COURSES[name], exercise)[number], best_pool) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), ANSWERS, ids=[answer.name for _, answer in ANSWERS])
def test_answer(name: str, answer: Answer, best_pool: WorkerPool) -> None:
    """Beside reference solutions of the other tasks, which keep their points."""
    complaints, outcome = judge(COURSES[name], answer, best_pool)
    assert complaints == []
    assert not_recognized(COURSES[name], answer, outcome) == []
