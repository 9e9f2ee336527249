"""The line of progress: how far a run is by the seconds that its tests are known to take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import progress
import pytest
from booksite import ROOT


def report(nodeid: str, outcome: str = "passed", when: str = "call") -> SimpleNamespace:
    return SimpleNamespace(nodeid=nodeid, when=when, outcome=outcome, passed=outcome == "passed", duration=2.0)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> progress.Progress:
    """A run of a long test and two short ones, that nobody watches."""
    config = SimpleNamespace(pluginmanager=SimpleNamespace(getplugin=lambda name: None))
    found = progress.Progress(config, {"tests/long.py": 8.0, "tests/short.py": 1.0})
    found.expect(["tests/long.py::a", "tests/short.py::b[1]", "tests/short.py::b[2]"])
    return found


def test_work_is_counted_in_seconds(count: progress.Progress):
    assert count.line(count.started) == "  0% done, 0:00 gone, time left not known yet; 0 tests, 0 failed"
    for when in ("setup", "call", "teardown"):
        count.pytest_runtest_logreport(report("tests/long.py::a", when=when))
    assert count.line(count.started + 80) == " 80% done, 1:20 gone, about 0:20 left; 1 tests, 0 failed"
    for when, outcome in (("setup", "passed"), ("call", "failed"), ("teardown", "passed"), ("teardown", "passed")):
        count.pytest_runtest_logreport(report("tests/short.py::b[1]", outcome, when))
    assert count.line(count.started + 90) == " 90% done, 1:30 gone, about 0:10 left; 2 tests, 1 failed"


def test_durations_are_kept_by_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(progress, "DURATIONS", tmp_path / "durations.json")
    progress.DURATIONS.write_text('{"tests/other.py": 3.0, "tests/a.py": 9.0}')
    durations = progress.Durations()
    for nodeid in ("tests/a.py::x", "tests/a.py::x", "tests/a.py::y"):
        durations.pytest_runtest_logreport(report(nodeid))
    durations.pytest_sessionfinish()
    assert json.loads(progress.DURATIONS.read_text()) == {"tests/a.py": 3.0, "tests/other.py": 3.0}


def test_a_run_says_how_far_it_is():
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--progress", "-n", "1", "--dist", "loadfile"]
    command += ["--no-loadscope-reorder", "tests/package/test_names.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    lines = re.findall(r"^ *(\d+)% done, \d+:\d\d gone, .* left.*; \d+ tests, 0 failed$", done.stdout, re.MULTILINE)
    assert lines, done.stdout
    assert lines[-1] == "100", done.stdout


def test_the_stored_durations_are_of_files_that_there_are():
    assert progress.load_durations()
    assert [file for file in progress.load_durations() if not (ROOT / file).is_file()] == []
