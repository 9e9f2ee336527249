"""Hands: notebooks that answer every task with some answer of the bank, so that one grading judges many of them."""

from __future__ import annotations

import sys
from pathlib import Path

from course_flows.grading.bank import Answer, answers_of
from course_flows.grading.course import Course
from course_flows.grading.hidden import HiddenResult, grade_source
from course_flows.grading.isolation import open_pool
from course_flows.grading.mistakes import load_mistakes, mistake_of, recognize, signature
from course_flows.grading.pool import WorkerPool

Hand = dict[str, Answer]


def hands_of(course: Course, exercise: str) -> list[Hand]:
    """Return notebooks in which every answer of the exercise's bank takes part once."""
    tasks: dict[str, list[Answer]] = {}
    for answer in answers_of(course, exercise):
        tasks.setdefault(answer.task, []).append(answer)
    longest = max(len(answers) for answers in tasks.values())
    return [{task: answers[n] for task, answers in tasks.items() if n < len(answers)} for n in range(longest)]


def judge_hand(course: Course, exercise: str, hand: Hand, pool: WorkerPool, seed: int = 0) -> list[str]:
    """Grade the tasks of a hand; say of each whose verdict is not the answer's own. The empty hand is the reference.

    Under seed 0, for which the signatures are kept, a wrong answer must also be recognized as itself.
    """
    sources = {task: answer.path.read_text(encoding="utf-8") for task, answer in hand.items()}
    outcome = grade_source(course, exercise, sources, pool, seed, only=hand or None)
    wrong = []
    for task, points in outcome.points.items():
        wanted = outcome.max_points[task] if task not in hand or hand[task].is_right else 0
        if points != wanted:
            who = hand[task].name if task in hand else f"{exercise}/{task}/reference"
            found = "; ".join(f"{r.name}: {r.found}" for r in outcome.results[task] if r.failed)
            wrong.append(f"{who} under seed {seed}: {points:g} points, {wanted:g} were expected ({found})")
    if seed == 0:
        wrong += [text for answer in hand.values() for text in not_recognized(course, answer, outcome)]
    return wrong


def not_recognized(course: Course, answer: Answer, outcome: HiddenResult) -> list[str]:
    """Say what keeps a wrong answer from getting its own hint: stale words, another way of failing, a neighbor."""
    if answer.is_right:
        return []
    rerun = f"course-flows signatures {answer.exercise}"
    everyone = load_mistakes(course, answer.exercise)
    new = mistake_of(course, answer, outcome.results[answer.task])
    own = [mistake for mistake in everyone if (mistake.task, mistake.name) == (new.task, new.name)]
    if not own or (own[0].sentence, own[0].hint) != (new.sentence, new.hint):
        return [f"{answer.name}: the stored mistake and hint are not those of the answer; run {rerun}"]
    fails = signature(outcome.results[answer.task])
    if not own[0].fits(fails):
        stored = {name: "|".join(sorted(manners)) for name, manners in own[0].fails.items()}
        differing = {name: (stored.get(name), fails.get(name)) for name in stored.keys() | fails.keys()}
        told = "; ".join(f"{n}: {a}, now {b}" for n, (a, b) in sorted(differing.items()) if b != a)
        return [
            f"{answer.name}: it fails in another way than is stored ({told}); if only the manner hangs on rounding, "
            f"run {rerun} --add, else {rerun}"
        ]
    recognized = recognize(everyone, outcome).get(answer.task, [])
    if recognized and own[0] not in recognized:
        return [f"{answer.name}: it is told the hint of {', '.join(mistake.name for mistake in recognized)}"]
    return []


def main() -> int:
    """Judge every notebook made of a bank: ``python tests/grading/hands.py COURSE EXERCISE``; say what is not right."""
    course, exercise = Course(Path(sys.argv[1])), sys.argv[2]
    with open_pool() as pool:
        complaints = [text for hand in hands_of(course, exercise) for text in judge_hand(course, exercise, hand, pool)]
    sys.stdout.write("".join(f"{text}\n" for text in complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
