"""The hidden stage: runs an exercise's suite in this process against a locked worker and counts the points."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from course_flows.grading import notebooks
from course_flows.grading.course import Course, CourseError
from course_flows.grading.plugin import HiddenPlugin, Result
from course_flows.grading.pool import PoolError, WorkerPool
from course_flows.grading.session import Cell, Session

__all__ = ["HiddenResult", "grade_notebook", "grade_source"]

SILENCED = ["cacheprovider", "faulthandler", "terminal", "logging", "unraisableexception", "threadexception"]


@dataclass
class HiddenResult:
    """What the hidden stage found: the points and the failed checks of every task, and what stopped its cell."""

    points: dict[str, float] = field(default_factory=dict)
    max_points: dict[str, float] = field(default_factory=dict)
    results: dict[str, list[Result]] = field(default_factory=dict)
    cell_errors: dict[str, str] = field(default_factory=dict)

    @property
    def untested(self) -> list[str]:
        """The tasks that no hidden test is about; nobody can have their points."""
        return [task for task, results in self.results.items() if not results]

    @property
    def faults(self) -> list[str]:
        """What went wrong inside the suite itself, for its author."""
        return [f"{r.name}: {r.fault}" for results in self.results.values() for r in results if r.fault]


def grade_source(
    course: Course,
    exercise: str,
    sources: Mapping[str, str],
    pool: WorkerPool,
    seed: int = 0,
    only: Collection[str] | None = None,
) -> HiddenResult:
    """Grade the reference solution of an exercise with some of its solution cells replaced: the hidden stage alone.

    With ``only`` the tests of these tasks alone are run.
    """
    solution = course.solution(exercise)
    names = {task.name for task in notebooks.tasks_of(solution)}
    if unknown := set(sources) - names:
        raise CourseError(f"{exercise} has no task called {', '.join(sorted(unknown))}.")
    for cell in solution["cells"]:
        name = notebooks.grade_id(cell) or ""
        if notebooks.is_solution(cell) and name in sources:
            cell["source"] = sources[name]
    return grade_notebook(course, exercise, solution, pool, seed, only)


def grade_notebook(
    course: Course,
    exercise: str,
    notebook: dict[str, Any],
    pool: WorkerPool,
    seed: int = 0,
    only: Collection[str] | None = None,
) -> HiddenResult:
    """Grade a rebuilt notebook: a task has its points when every hidden test of it passed, else none."""
    tasks = notebooks.tasks_of(notebook)
    known = {task.name for task in tasks}
    session = Session(pool, [Cell(*pair) for pair in notebooks.code_cells(notebook)])
    try:
        plugin = _run_suite(course.suite(exercise), HiddenPlugin(session, seed, only=only))
    finally:
        session.close()
    outcome = HiddenResult(cell_errors=dict(session.cell_errors))
    for result in plugin.results.values():
        if result.property.task not in known:
            raise CourseError(f"The hidden test {result.name} names a task that {exercise} does not have.")
        outcome.results.setdefault(result.property.task, []).append(result)
    for task in (task for task in tasks if only is None or task.name in only):
        results = outcome.results.setdefault(task.name, [])
        won = bool(results) and all(result.won() for result in results)
        outcome.points[task.name] = task.points if won else 0
        outcome.max_points[task.name] = task.points
    return outcome


def _run_suite(suite: Path, plugin: HiddenPlugin) -> HiddenPlugin:
    """Run pytest on one file, away from every configuration but an empty one."""
    folder = suite.parent
    arguments = ["-c", os.devnull, "--rootdir", str(folder), "--confcutdir", str(folder), "--noconftest"]
    arguments += ["--import-mode=importlib", "--assert=plain", "--capture=no", "-W", "ignore"]
    arguments += [word for name in SILENCED for word in ("-p", f"no:{name}")]
    silence = io.StringIO()
    quiet = contextlib.redirect_stdout(silence)
    with _without_pytest_settings(), _forgetting_modules(folder), _one_thread(), quiet:
        status = pytest.main([*arguments, str(suite)], plugins=[plugin])
    if plugin.broken:
        raise PoolError(f"The grading broke off, nothing was judged: {plugin.broken}.")
    if plugin.problems or not plugin.results or status not in (0, 1):
        problem = "; ".join(plugin.problems) or "it holds no tests"
        raise CourseError(f"The hidden suite {suite.name} cannot be used: {problem}.")
    return plugin


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute expectations with one thread, so that sums come out the same whatever else runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _without_pytest_settings() -> Iterator[None]:
    """Take away what the environment tells pytest, for the time of one run."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    for name in kept:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("PYTEST_")]:
            del os.environ[name]
        os.environ.update(kept)


@contextlib.contextmanager
def _forgetting_modules(folder: Path) -> Iterator[None]:
    """Let the modules of a suite be loaded anew the next time, and write no bytecode next to them."""
    before, bytecode = set(sys.modules), sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = bytecode
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).is_relative_to(folder):
                del sys.modules[name]
