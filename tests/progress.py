"""A line that says how far a test run is and how long it will take: ``pytest --progress``.

Tests differ in length by a factor of a thousand, so work is counted in seconds: those that each file's tests took on
average when ``--write-durations`` last wrote tests/durations.json.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

DURATIONS = Path(__file__).with_name("durations.json")
UNKNOWN_SECONDS = 0.5
EVERY = 0.05  # of the work, where lines cannot be overwritten


def clock(seconds: float) -> str:
    """Return minutes and seconds.

    >>> clock(75.4)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def file_of(nodeid: str) -> str:
    """Return the file that a test stands in."""
    return nodeid.partition("::")[0]


class Progress:
    """Counts the work that is done and says so: on a terminal in one line, else now and then in a line of its own."""

    def __init__(self, config: pytest.Config, stored: dict[str, float]) -> None:
        self.stored = stored
        self.config = config
        self.outcomes: Counter[str] = Counter()
        self.total = self.done = self.told = 0.0
        self.finished: set[str] = set()
        self.started = time.monotonic()

    def weight(self, nodeid: str) -> float:
        """Return how many seconds a test is expected to take."""
        return self.stored.get(file_of(nodeid), UNKNOWN_SECONDS)

    def expect(self, nodeids: list[str]) -> None:
        """Note what there is to do."""
        self.total = sum(map(self.weight, nodeids))
        self.started = time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the tests that this process collected, where it runs them itself."""
        if session.items:
            self.expect([item.nodeid for item in session.items])

    def pytest_xdist_node_collection_finished(self, node: object, ids: list[str]) -> None:
        """Take the tests that a worker collected; all collect the same."""
        if not self.total:
            self.expect(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Show no dot for a test that passed."""
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            return "passed", "", ""
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test when its last phase is over."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] += 1
        if report.when == "teardown" and report.nodeid not in self.finished:
            self.finished.add(report.nodeid)
            self.done += self.weight(report.nodeid)
            self.tell()

    def line(self, now: float) -> str:
        """Return what is said at a time."""
        share = min(1.0, self.done / self.total) if self.total else 1.0
        gone = now - self.started
        left = f"about {clock(gone / share - gone)} left" if share > 0.02 else "time left not known yet"
        failed = self.outcomes["failed"]
        return f"{share:4.0%} done, {clock(gone)} gone, {left}; {len(self.finished)} tests, {failed} failed"

    def tell(self) -> None:
        """Say how far the run is, where there is something new."""
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        share = self.done / self.total if self.total else 1.0
        if reporter is None:
            return
        if reporter.isatty:
            reporter.rewrite(self.line(time.monotonic()), erase=True)
            reporter.flush()
        elif share - self.told >= EVERY or (share >= 1 and self.told < 1):
            self.told = share
            reporter.ensure_newline()
            reporter.write(self.line(time.monotonic()) + "\n", flush=True)


class Durations:
    """Writes how many seconds the tests of each file took on average."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.tests: dict[str, set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a phase of a test to its file."""
        self.seconds[file_of(report.nodeid)] += report.duration
        self.tests[file_of(report.nodeid)].add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write the file, and leave what was not run as it was."""
        found = {file: round(total / len(self.tests[file]), 3) for file, total in self.seconds.items()}
        kept = load_durations()
        DURATIONS.write_text(json.dumps(kept | found, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def load_durations() -> dict[str, float]:
    """Return the stored seconds of each file's tests; nothing where there are none."""
    return json.loads(DURATIONS.read_text(encoding="utf-8")) if DURATIONS.is_file() else {}


def register(config: pytest.Config) -> None:
    """Add what the command line asks for, in the process that hears of all tests."""
    if hasattr(config, "workerinput"):
        return
    if config.option.progress:
        config.pluginmanager.register(Progress(config, load_durations()), "course-flows-progress")
    if config.option.write_durations:
        config.pluginmanager.register(Durations(), "course-flows-durations")
