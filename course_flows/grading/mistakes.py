"""Known mistakes: how each wrong answer of the bank fails, and which of them a submission behaves like.

The *signature* of a wrong answer is the set of hidden tests of its task that it fails, each with the manner of failing
(`course_flows.grading.plugin.Result.manner`). ``course-flows signatures`` writes the signatures of an exercise to
``tests/answers/<exercise>/signatures.json``. A submission that fails in exactly one of these ways looks like that
mistake, and its student reads the mistake's hint. Mistakes with one signature are told apart by the words of the failed
checks, which hold measured errors; these depend on the seed and, in their last digit, on the processor.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from course_flows.grading.bank import Answer, answers_of
from course_flows.grading.course import Course, CourseError
from course_flows.grading.hidden import HiddenResult, grade_source
from course_flows.grading.plugin import Result
from course_flows.grading.pool import WorkerPool

__all__ = [
    "Mistake",
    "compute_signatures",
    "load_mistakes",
    "mistake_of",
    "recognize",
    "signature",
    "signatures_path",
    "signatures_text",
    "stale_signatures",
]

MAX_HINTS = 2


@dataclass(frozen=True)
class Mistake:
    """A wrong answer of the bank: what is wrong, what helps, which hidden tests it fails, how and with which words."""

    task: str
    name: str
    sentence: str
    hint: str
    fails: dict[str, str]
    found: dict[str, str]


def signature(results: list[Result]) -> dict[str, str]:
    """Return the hidden tests that were not passed, each with its manner of failing."""
    return {
        result.name: result.manner or "fault" for result in sorted(results, key=lambda r: r.name) if not result.won()
    }


def _found(results: list[Result]) -> dict[str, str]:
    return {result.name: result.found for result in sorted(results, key=lambda r: r.name) if not result.won()}


def signatures_path(course: Course, exercise: str) -> Path:
    """Return where the signatures of an exercise are kept."""
    return course.answers / exercise / "signatures.json"


def mistake_of(course: Course, answer: Answer, results: list[Result]) -> Mistake:
    """Return a wrong answer of the bank with its signature."""
    lines = answer.path.read_text(encoding="utf-8").splitlines()[:2]
    if len(lines) < 2 or not lines[0].startswith("# mistake: ") or not lines[1].startswith("# hint: "):
        raise CourseError(f"{answer.name}: a wrong answer begins with the lines '# mistake: …' and '# hint: …'.")
    sentence, hint = (line.split(": ", 1)[1].strip() for line in lines)
    return Mistake(
        answer.task, answer.path.stem.removeprefix("wrong_"), sentence, hint, signature(results), _found(results)
    )


def compute_signatures(
    course: Course, exercise: str, pool: WorkerPool, note: Callable[[str], None] = lambda name: None
) -> list[Mistake]:
    """Grade every wrong answer of an exercise and return what it fails, one of each task in a notebook together."""
    tasks: dict[str, list[Answer]] = {}
    for answer in answers_of(course, exercise):
        if not answer.is_right:
            tasks.setdefault(answer.task, []).append(answer)
    found = []
    for hand in zip_longest(*tasks.values()):
        answers = [answer for answer in hand if answer is not None]
        sources = {answer.task: answer.path.read_text(encoding="utf-8") for answer in answers}
        outcome = grade_source(course, exercise, sources, pool)
        for answer in answers:
            found.append(mistake_of(course, answer, outcome.results[answer.task]))
            note(answer.name)
    return found


def signatures_text(exercise: str, mistakes: list[Mistake]) -> str:
    """Return the text of signatures.json, the same for the same bank and suite."""
    tasks: dict[str, Any] = {}
    for mistake in sorted(mistakes, key=lambda m: (m.task, m.name)):
        entry = {"mistake": mistake.sentence, "hint": mistake.hint, "fails": mistake.fails, "found": mistake.found}
        tasks.setdefault(mistake.task, {})[mistake.name] = entry
    content = {"schema_version": 1, "exercise": exercise, "tasks": tasks}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def load_mistakes(course: Course, exercise: str) -> list[Mistake]:
    """Return the known mistakes of an exercise; none where no signatures were computed."""
    path = signatures_path(course, exercise)
    if not path.is_file():
        return []
    try:
        tasks = json.loads(path.read_text(encoding="utf-8"))["tasks"]
        return [
            Mistake(task, name, entry["mistake"], entry["hint"], dict(entry["fails"]), dict(entry["found"]))
            for task, entries in tasks.items()
            for name, entry in entries.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        where = path.relative_to(course.root)
        raise CourseError(f"{where} cannot be read: write it anew with course-flows signatures.") from None


def recognize(mistakes: list[Mistake], outcome: HiddenResult) -> dict[str, list[Mistake]]:
    """Return, by task, the known mistakes that a graded notebook looks like; at most two, else none is told.

    Code that raises or ends its process in every test of a task says nothing about how it computes: no match.
    """
    looks: dict[str, list[Mistake]] = {}
    for task, results in outcome.results.items():
        fails = signature(results)
        silent = len(fails) == len(results) and set(fails.values()) <= {"raised", "lost", "fault"}
        if not fails or silent or task in outcome.cell_errors:
            continue
        alike = [mistake for mistake in mistakes if mistake.task == task and mistake.fails == fails]
        alike = _closest(alike, _found(results))
        if 1 <= len(alike) <= MAX_HINTS:
            looks[task] = alike
    return looks


def _closest(alike: list[Mistake], found: dict[str, str]) -> list[Mistake]:
    """Return the one mistake with the most equal words, all where no single one has the most."""
    equal = [sum(found[name] == text for name, text in mistake.found.items()) for mistake in alike]
    best = [mistake for mistake, count in zip(alike, equal) if count == max(equal)]
    return best if len(best) == 1 else alike


def stale_signatures(course: Course, exercise: str, computed: list[Mistake]) -> list[str]:
    """Return the tasks and names of mistakes whose stored signature, sentence or hint is not the computed one."""

    def table(mistakes: list[Mistake]) -> dict[str, tuple[str, str, dict[str, str]]]:
        return {f"{m.task}/{m.name}": (m.sentence, m.hint, m.fails) for m in mistakes}

    stored, wanted = table(load_mistakes(course, exercise)), table(computed)
    return sorted(name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name))
