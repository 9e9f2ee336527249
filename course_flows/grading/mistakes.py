"""Known mistakes: how each wrong answer of the bank fails, and which of them a submission behaves like.

The *signature* of a wrong answer is the set of hidden tests of its task that it fails, each with the manner of failing
(`course_flows.grading.plugin.Result.manner`). ``course-flows signatures`` writes the signatures of an exercise to
``tests/answers/<exercise>/signatures.json``. A submission that fails in exactly one of these ways looks like that
mistake, and its student reads the mistake's hint.

Two things hang on the processor. Where a manner does, because a matrix is singular or nearly so by rounding alone, the
signature holds every manner that was seen (``raised|wrong``). Mistakes with one signature are told apart by the words
of the failed checks, which hold measured errors: the mistake whose words are nearest is meant, where it is nearest by
more than rounding.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    "merge_signatures",
    "mistake_of",
    "recognize",
    "signature",
    "signatures_path",
    "signatures_text",
    "stale_signatures",
]

MAX_HINTS = 2
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")
FAR = 3.0  # the distance of other words, and the largest one between two numbers: a factor of 20
APART = 0.02  # mistakes whose words are nearer to each other cannot be told apart


@dataclass(frozen=True)
class Mistake:
    """A wrong answer of the bank: what is wrong, what helps, which hidden tests it fails, how and with which words.

    ``fails`` holds the manners of failing that were seen, on one machine or another, for each test.
    """

    task: str
    name: str
    sentence: str
    hint: str
    fails: dict[str, frozenset[str]]
    found: dict[str, str]

    def fits(self, fails: dict[str, str]) -> bool:
        """Tell whether the same tests were failed, each in a manner that is known."""
        return self.fails.keys() == fails.keys() and all(manner in self.fails[name] for name, manner in fails.items())


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
    fails = {name: frozenset([manner]) for name, manner in signature(results).items()}
    return Mistake(answer.task, answer.path.stem.removeprefix("wrong_"), sentence, hint, fails, _found(results))


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
        fails = {name: "|".join(sorted(manners)) for name, manners in mistake.fails.items()}
        entry = {"mistake": mistake.sentence, "hint": mistake.hint, "fails": fails, "found": mistake.found}
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
            Mistake(task, name, entry["mistake"], entry["hint"], _manners(entry["fails"]), dict(entry["found"]))
            for task, entries in tasks.items()
            for name, entry in entries.items()
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        where = path.relative_to(course.root)
        raise CourseError(f"{where} cannot be read: write it anew with course-flows signatures.") from None


def _manners(fails: dict[str, str]) -> dict[str, frozenset[str]]:
    return {name: frozenset(manners.split("|")) for name, manners in fails.items()}


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
        alike = [mistake for mistake in mistakes if mistake.task == task and mistake.fits(fails)]
        alike = _nearest(alike, _found(results))
        if 1 <= len(alike) <= MAX_HINTS:
            looks[task] = alike
    return looks


def _nearest(alike: list[Mistake], found: dict[str, str]) -> list[Mistake]:
    """Return the mistakes whose words are nearest to what was found: one, or those that cannot be told apart."""
    distances = [sum(_distance(text, found[name]) for name, text in mistake.found.items()) for mistake in alike]
    return [mistake for mistake, far in zip(alike, distances) if far <= min(distances) + APART]


def _distance(told: str, found: str) -> float:
    """Return how far apart two sentences are: for the same words, by the largest ratio of their numbers."""
    if NUMBER.sub("#", told) != NUMBER.sub("#", found):
        return FAR
    pairs = [(float(a), float(b)) for a, b in zip(NUMBER.findall(told), NUMBER.findall(found))]
    ratios = [abs(math.log(a / b)) if a * b > 0 else FAR for a, b in pairs if a != b]
    return min(FAR, max(ratios, default=0.0))


def merge_signatures(stored: list[Mistake], computed: list[Mistake], add: bool = False) -> list[Mistake]:
    """Return what was computed, with what other machines saw: manners and words are kept where they still fit.

    ``add`` keeps the stored manners also where this machine sees another one.
    """
    known = {(mistake.task, mistake.name): mistake for mistake in stored}
    merged = []
    for new in computed:
        old = known.get((new.task, new.name))
        if old is None or old.fails.keys() != new.fails.keys():
            merged.append(new)
            continue
        fails = {
            name: old.fails[name] | manners if add or manners <= old.fails[name] else manners
            for name, manners in new.fails.items()
        }
        found = {
            name: old.found[name] if _distance(old.found.get(name, ""), text) < FAR else text
            for name, text in new.found.items()
        }
        merged.append(replace(new, fails=fails, found=found))
    return merged


def stale_signatures(stored: list[Mistake], computed: list[Mistake]) -> list[str]:
    """Return the tasks and names of mistakes whose stored signature, sentence or hint does not fit the computed one."""
    known = {(mistake.task, mistake.name): mistake for mistake in stored}
    wanted = {(mistake.task, mistake.name): mistake for mistake in computed}

    def is_stale(key: tuple[str, str]) -> bool:
        old, new = known.get(key), wanted.get(key)
        if old is None or new is None or (old.sentence, old.hint) != (new.sentence, new.hint):
            return True
        return old.fails.keys() != new.fails.keys() or any(new.fails[n] - old.fails[n] for n in new.fails)

    return sorted("/".join(key) for key in known.keys() | wanted.keys() if is_stale(key))
