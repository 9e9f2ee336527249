"""Hands: notebooks that answer every task with some answer of the bank, so that one grading judges many of them."""

from __future__ import annotations

from course_flows.grading.bank import Answer, answers_of
from course_flows.grading.course import Course
from course_flows.grading.hidden import grade_source
from course_flows.grading.pool import WorkerPool

Hand = dict[str, Answer]


def hands_of(course: Course, exercise: str) -> list[Hand]:
    """Return notebooks in which every answer of the exercise's bank takes part, the shorter lists more than once."""
    tasks: dict[str, list[Answer]] = {}
    for answer in answers_of(course, exercise):
        tasks.setdefault(answer.task, []).append(answer)
    longest = max(len(answers) for answers in tasks.values())
    return [{task: answers[n % len(answers)] for task, answers in tasks.items()} for n in range(longest)]


def judge_hand(course: Course, exercise: str, hand: Hand, pool: WorkerPool, seed: int) -> list[str]:
    """Grade a notebook; say of each task whose verdict is not the answer's own. The empty hand is the reference."""
    sources = {task: answer.path.read_text(encoding="utf-8") for task, answer in hand.items()}
    outcome = grade_source(course, exercise, sources, pool, seed)
    wrong = []
    for task, points in outcome.points.items():
        wanted = outcome.max_points[task] if task not in hand or hand[task].is_right else 0
        if points != wanted:
            who = hand[task].name if task in hand else f"{exercise}/{task}/reference"
            found = "; ".join(f"{r.name}: {r.found}" for r in outcome.results[task] if r.failed)
            wrong.append(f"{who} under seed {seed}: {points:g} points, {wanted:g} were expected ({found})")
    return wrong
