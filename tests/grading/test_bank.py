"""The answer bank: right answers get full points, wrong ones fail their own task and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hands import hands_of

from course_flows.grading.bank import Answer, answers_of, bank_gaps, judge
from course_flows.grading.course import Course
from course_flows.grading.hidden import HiddenResult, grade_source
from course_flows.grading.mistakes import load_mistakes, mistake_of, recognize
from course_flows.grading.pool import WorkerPool

COURSES = {"course": Course(Path(__file__).parents[2]), "mini": Course(Path(__file__).parent / "mini")}
STALE = "the signatures are stale: run course-flows signatures"
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
    hand = hands_of(COURSES[name], exercise)[number]
    sources = {task: answer.path.read_text(encoding="utf-8") for task, answer in hand.items()}
    outcome = grade_source(COURSES[name], exercise, sources, best_pool)
    expected = {task: outcome.max_points[task] if answer.is_right else 0 for task, answer in hand.items()}
    assert outcome.points == expected
    for answer in hand.values():
        check_mistake(COURSES[name], answer, outcome)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "answer"), ANSWERS, ids=[answer.name for _, answer in ANSWERS])
def test_answer(name: str, answer: Answer, best_pool: WorkerPool) -> None:
    """Beside reference solutions of the other tasks, which keep their points."""
    complaints, outcome = judge(COURSES[name], answer, best_pool)
    assert complaints == []
    check_mistake(COURSES[name], answer, outcome)


def check_mistake(course: Course, answer: Answer, outcome: HiddenResult) -> None:
    """A wrong answer is recognized as itself, and the signatures say which tests it fails."""
    if answer.is_right:
        return
    found = mistake_of(course, answer, outcome.results[answer.task])
    stored = [m for m in load_mistakes(course, answer.exercise) if (m.task, m.name) == (found.task, found.name)]
    assert [(m.sentence, m.hint, m.fails) for m in stored] == [(found.sentence, found.hint, found.fails)], STALE
    assert [m.name for m in recognize(stored, outcome)[answer.task]] == [found.name]
