"""Measures the grader against its banks and writes the numbers to book/results/grading_bank.json.

``python tests/grading/measure_bank.py [--seeds N] [--jobs N] [--exercise NAME …] [PART …]`` with the parts answers,
mutants, seeds and hostile, by default all of them for all exercises. What is not measured keeps the numbers of its last
measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import mutants
from hands import hands_of, judge_hand
from test_hostile import BANK, TIERS, run_attack, tier_pools, watched_world
from test_seeds import COURSE, verdicts_differ

from course_flows.grading.bank import answers_of, judge
from course_flows.grading.hidden import grade_source
from course_flows.grading.isolation import open_pool
from course_flows.grading.limits import Limits

RESULTS = Path(__file__).parents[2] / "book" / "results" / "grading_bank.json"
LIMITS = Limits(call_cpu_seconds=2.0, call_wall_seconds=30.0, worker_cpu_seconds=30, losses_per_task=1)
CHUNK = 16


def in_chunks(work: Callable[[Sequence[Any]], list[Any]], items: Sequence[Any], jobs: int) -> list[Any]:
    """Return the results of ``work`` over pieces of ``items``, done by several processes."""
    pieces = [items[n : n + CHUNK] for n in range(0, len(items), CHUNK)]
    with ProcessPoolExecutor(jobs) as executor:
        return list(chain.from_iterable(executor.map(work, pieces)))


def judge_answers(answers: Sequence[Any]) -> list[bool]:
    """Tell of each answer whether it did as its name promises, in every task."""
    with open_pool(LIMITS) as pool:
        return [judge(COURSE, answer, pool)[0] == [] for answer in answers]


def grade_mutants(some: Sequence[mutants.Mutant]) -> list[bool]:
    """Tell of each mutant whether it survives."""
    with open_pool(LIMITS) as pool:
        alive = mutants.survivors(COURSE, some[0].exercise, some, pool)
        return [mutant in alive for mutant in some]


def grade_seeds(some: Sequence[int], exercise: str) -> list[list[str]]:
    """Return, for each seed, what differed from the expected verdicts."""
    with open_pool(LIMITS) as pool:
        return [verdicts_differ(exercise, seed, pool) for seed in some]


def measure_answers(exercise: str, jobs: int) -> dict[str, Any]:
    """Grade every right and wrong answer alone, and every notebook made of them."""
    answers = answers_of(COURSE, exercise)
    good = in_chunks(judge_answers, answers, jobs)
    with open_pool(LIMITS) as pool:
        outcome = grade_source(COURSE, exercise, {}, pool)
        mixed = [judge_hand(COURSE, exercise, hand, pool, 0) == [] for hand in hands_of(COURSE, exercise)]
    right = [fine for fine, answer in zip(good, answers) if answer.is_right]
    wrong = [fine for fine, answer in zip(good, answers) if not answer.is_right]
    return {
        "hidden_tests": sum(map(len, outcome.results.values())),
        "reference_has_full_points": outcome.points == outcome.max_points,
        "wrong_answers": {"caught": sum(wrong), "of": len(wrong)},
        "alternative_answers": {"full_points": sum(right), "of": len(right)},
        "mixed_notebooks": {"right": sum(mixed), "of": len(mixed)},
    }


def measure_mutants(exercise: str, jobs: int) -> dict[str, Any]:
    """Grade every mutant of every reference solution."""
    equivalent = mutants.load_equivalent()
    everyone = mutants.mutants_of(COURSE, exercise)
    alive = [mutant.name for mutant, lives in zip(everyone, in_chunks(grade_mutants, everyone, jobs)) if lives]
    return {
        "total": len(everyone),
        "killed": len(everyone) - len(alive),
        "by_operator": dict(sorted(Counter(mutant.operator for mutant in everyone).items())),
        "equivalent": sorted(name for name in alive if name in equivalent),
        "unexplained": sorted(name for name in alive if name not in equivalent),
    }


def measure_seeds(exercise: str, jobs: int, seeds: int) -> dict[str, Any]:
    """Grade the reference, and two notebooks of the bank in turn, under many seeds."""
    differing = in_chunks(partial(grade_seeds, exercise=exercise), range(1, seeds + 1), jobs)
    return {
        "seeds": seeds,
        "gradings": 3 * seeds,
        "verdicts": 3 * seeds * len({answer.task for answer in answers_of(COURSE, exercise)}),
        "unequal": sorted(chain.from_iterable(differing)),
    }


def measure_hostile(tier: str) -> dict[str, Any]:
    """Grade the bank of hostile submissions in a tier, one after the other: some of them need the machine."""
    with watched_world() as world, tier_pools() as pools:
        if tier not in pools:
            return {"submissions": len(BANK), "held": 0, "by_class": {}, "failed": ["not to be had on this machine"]}
        held, failed = Counter[str](), []
        for attack in BANK:
            try:
                run_attack(attack, world, pools[tier])
            except Exception as error:
                failed.append(f"{attack.name}: {type(error).__name__}")
            else:
                held[attack.header["class"]] += 1
        return {"submissions": len(BANK), "held": sum(held.values()), "by_class": held, "failed": failed}


def main() -> None:
    """Measure what is asked for and write the file after every piece."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--exercise", action="append", choices=COURSE.exercise_names(), help="may be given repeatedly")
    chosen = parser.parse_args()
    jobs, exercises = chosen.jobs, chosen.exercise or COURSE.exercise_names()
    measures: dict[str, tuple[Sequence[str], Callable[[str], dict[str, Any]]]] = {
        "answers": (exercises, lambda exercise: measure_answers(exercise, jobs)),
        "mutants": (exercises, lambda exercise: measure_mutants(exercise, jobs)),
        "seeds": (exercises, lambda exercise: measure_seeds(exercise, jobs, chosen.seeds)),
        "hostile": (TIERS, measure_hostile),
    }
    if unknown := set(chosen.parts) - set(measures):
        sys.exit(f"The parts are {', '.join(measures)}, found: {', '.join(sorted(unknown))}")
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for part in chosen.parts or measures:
        names, work = measures[part]
        for name in names:
            start = time.monotonic()
            measured = work(name)
            seconds = round(time.monotonic() - start)
            results.setdefault(part, {})[name] = {"seconds": seconds, "cores": os.cpu_count(), **measured}
            RESULTS.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(results, indent=1, ensure_ascii=False, sort_keys=True)
            RESULTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
