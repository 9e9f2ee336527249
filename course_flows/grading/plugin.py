"""The pytest plugin of the hidden stage: the fixtures of suites, and the list of what passed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
import torch

from course_flows.grading.pool import PoolError
from course_flows.grading.remote import Student
from course_flows.grading.session import RefusedError, Session, StudentError, WorkerLostError
from course_flows.grading.text import one_line

if TYPE_CHECKING:
    from course_flows.grading.suite import Property

__all__ = ["HiddenPlugin", "Result"]

UNFINISHED = "the check could not be finished with what your code returned"


@dataclass
class Result:
    """What became of one hidden test; ``fault`` is for the suite's author and never shown to a student.

    ``manner`` says how it failed: ``wrong`` (the property does not hold), ``refused`` (an answer was not of the
    declared kind), ``raised`` (the code raised), ``lost`` (its process ended) or ``fault`` (the suite broke off).
    """

    name: str
    property: Property
    passed: bool = False
    failed: bool = False
    manner: str = ""
    found: str = ""
    fault: str = ""

    def won(self) -> bool:
        """Whether the test passed in every phase."""
        return self.passed and not self.failed


@dataclass
class HiddenPlugin:
    """Runs a hidden suite, or its tests of the tasks in ``only``, against one student's session."""

    session: Session
    seed: int
    only: Collection[str] | None = None
    results: dict[str, Result] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    losses: dict[str, int] = field(default_factory=dict)
    last_task: str = ""
    broken: str = ""

    @pytest.fixture
    def rng(self, request: pytest.FixtureRequest) -> torch.Generator:
        """A generator seeded from the grader's seed and the test's name."""
        digest = hashlib.sha256(f"{self.seed}:{request.node.name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))

    @pytest.fixture
    def student(self, request: pytest.FixtureRequest) -> Iterator[Student]:
        """The student's notebook, with the handles of earlier tests forgotten."""
        task = self.results[request.node.nodeid].property.task
        if self.losses.get(task, 0) >= self.session.pool.limits.losses_per_task:
            raise WorkerLostError("not tried: earlier checks of this task already cost too much")
        before = self.session.lost
        self.session.forget_objects()
        self._charge(self.last_task, before)
        self.last_task, before = task, self.session.lost
        yield Student(self.session, request.node.name, self.seed)
        self._charge(task, before)

    def _charge(self, task: str, before: int) -> None:
        """Count the workers that were lost since ``before`` against a task."""
        self.losses[task] = self.losses.get(task, 0) + self.session.lost - before

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what kept a suite from being loaded."""
        if report.failed:
            self.problems.append(f"the suite cannot be loaded: {report.longreprtext.strip().splitlines()[-1]}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the tests of tasks that are not asked for; one that names no task stays and is a problem."""
        if self.only is not None:
            tasks = {item: getattr(_mark_of(item), "task", None) for item in items}
            items[:] = [item for item, task in tasks.items() if task is None or task in self.only]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Note the exact list of tests that have to pass."""
        for item in session.items:
            mark = _mark_of(item)
            if mark is None:
                self.problems.append(f"the test {item.name} is not marked with @property_of")
            else:
                self.results[item.nodeid] = Result(item.name, mark)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note what became of a test: it passed when its call passed and no phase of it failed."""
        report = yield
        result = self.results.get(item.nodeid)
        if result is not None:
            if report.when == "call" and report.outcome == "passed" and call.excinfo is None:
                result.passed = True
            elif call.excinfo is not None:
                result.failed = True
                result.manner = _manner(call.excinfo.value)
                result.found, result.fault = self._words(call.excinfo, report)
        return report

    def _words(self, info: pytest.ExceptionInfo[BaseException], report: pytest.TestReport) -> tuple[str, str]:
        """Return what a student may read about a failure, and the fault of the suite where it was one."""
        error = info.value
        if isinstance(error, PoolError):
            self.broken = str(error)
        if isinstance(error, StudentError):
            raised = not isinstance(error, (WorkerLostError, RefusedError))
            return f"your code stopped: {error}" if raised else str(error), ""
        if isinstance(error, AssertionError):
            return one_line(str(error)), ""
        return UNFINISHED, f"{type(error).__name__}: {error}\n{report.longreprtext}"


def _mark_of(item: pytest.Item) -> Property | None:
    return getattr(getattr(item, "function", None), "course_flows_property", None)


def _manner(error: BaseException) -> str:
    kinds = {WorkerLostError: "lost", RefusedError: "refused", StudentError: "raised", AssertionError: "wrong"}
    return next((name for kind, name in kinds.items() if isinstance(error, kind)), "fault")
