"""Mutation testing of the hidden suites: small changes of the reference solutions must cost points."""

from __future__ import annotations

import random
from pathlib import Path

import mutants
import pytest
from mutants import Mutant

from course_flows.grading.course import Course
from course_flows.grading.pool import WorkerPool

COURSE = Course(Path(__file__).parents[2])
SAMPLE = 10
MIN_KILLED = 0.95


def changes(source: str) -> set[str]:
    """Return the changed lines of the mutants of a small function's body."""
    cell = "def f(x, y):\n    " + source
    lines = {mutant.diff.rpartition("\n")[2].removeprefix("+").strip() for mutant in mutants.of_cell("e", "t", cell)}
    return lines - {""}


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("return x - y", {"return x + y", "return y - x", "return x", "return y", "return -(x - y)"}),
        ("return x.abs().sum(dim=1)", {"return x.sum(dim=1)", "return x.abs().sum(dim=2)", "return x.abs().sum()"}),
        ("return x.sum(dim=-1, keepdim=True)", {"return x.sum(dim=1, keepdim=True)", "return x.sum(dim=-1)"}),
        ("return torch.exp(x) @ y.T", {"return torch.log(x) @ y.T", "return torch.exp(x) @ y", "return x @ y.T"}),
        ("return x < 0", {"return x <= 0", "return x >= 0", "return x < 1", "return x < -1"}),
        ("return solve(x, y, upper=False)", {"return solve(y, x, upper=False)", "return solve(x, y, upper=True)"}),
        ("return x[1:], y", {"return (x[:], y)", "return (x[2:], y)", "return (y, x[1:])", "return (-x[1:], y)"}),
        ("x = y", {"pass"}),
    ],
)
def test_operators(source: str, wanted: set[str]) -> None:
    assert wanted <= changes(source)


def test_texts_and_signatures_are_left_alone() -> None:
    assert changes('"""Return 1 + 1."""\n    raise ValueError(f"{x + 1}")') == {"pass"}
    assert changes("pass") == set()


@pytest.mark.parametrize("exercise", COURSE.exercise_names())
def test_the_list_of_equivalent_mutants_is_up_to_date(exercise: str) -> None:
    names = [mutant.name for mutant in mutants.mutants_of(COURSE, exercise)]
    assert len(set(names)) == len(names) >= 50
    for name, why in mutants.load_equivalent().items():
        assert not name.startswith(f"{exercise}/") or name in names, f"{name} is listed, but there is no such mutant"
        assert why.endswith("."), name


def killable(exercise: str) -> list[Mutant]:
    equivalent = mutants.load_equivalent()
    return [mutant for mutant in mutants.mutants_of(COURSE, exercise) if mutant.name not in equivalent]


@pytest.mark.parametrize("exercise", COURSE.exercise_names())
def test_a_sample_of_mutants_is_killed(exercise: str, best_pool: WorkerPool) -> None:
    sample = random.Random(exercise).sample(killable(exercise), SAMPLE)
    alive = mutants.survivors(COURSE, exercise, sample, best_pool)
    assert [mutant.name + "\n" + mutant.diff for mutant in alive] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("exercise", COURSE.exercise_names())
def test_every_mutant_is_killed_or_listed(exercise: str, best_pool: WorkerPool) -> None:
    everyone = mutants.mutants_of(COURSE, exercise)
    alive = mutants.survivors(COURSE, exercise, everyone, best_pool)
    equivalent = mutants.load_equivalent()
    assert [mutant.name + "\n" + mutant.diff for mutant in alive if mutant.name not in equivalent] == []
    listed = {name for name in equivalent if name.startswith(f"{exercise}/")}
    assert listed == {mutant.name for mutant in alive}
    assert len(alive) <= (1 - MIN_KILLED) * len(everyone)
