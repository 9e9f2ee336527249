"""The visible stage says in words why a cell was stopped, judges the tasks after it, and leaves nothing running."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from course_flows.grading.limits import Limits
from course_flows.grading.pool import WorkerPool
from course_flows.grading.visible import Visible, run_visible

RIGHT = "def double(x):\n    return 2 * x\n"
ENDLESS = "def double(x):\n    while True: pass\n"
LIMITS = Limits(visible_cell_seconds=5, visible_wall_seconds=90.0)
STOPPED = "took longer than 5 seconds and was stopped (does your code loop without end?)"
LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks into /proc, which Linux has")


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name, in which the stage makes its own: the names of unix sockets are limited."""
    before, folder = tempfile.tempdir, Path(tempfile.mkdtemp(prefix="cf-"))
    folder.chmod(0o711)
    tempfile.tempdir = str(folder)
    yield folder
    tempfile.tempdir = before
    shutil.rmtree(folder)


def notebook(first: str, second: str = "def half(x):\n    return x / 2\n") -> dict[str, Any]:
    """Return a released notebook of two tasks, double and half, with answers; nothing in it takes long to import."""
    cells = []
    for task, source in (("double", first), ("half", second)):
        own = {"grade_id": task, "solution": True, "grade": False}
        check = {"grade_id": f"{task}-check", "solution": False, "grade": True, "points": 1}
        checking = f"assert {task}(4) in (2, 8), 'wrong'\nprint('{task}: visible checks passed')"
        for name, text, nbgrader in ((task, source, own), (f"{task}-check", checking, check)):
            cell = {"id": name, "cell_type": "code", "source": text, "outputs": [], "execution_count": None}
            cells.append(cell | {"metadata": {"nbgrader": nbgrader}})
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.mark.parametrize(
    ("tier", "source", "what"),
    [("best", ENDLESS, "the check cell"), ("none", "while True: pass", "the cell with your code")],
)
def test_an_endless_loop_is_told_in_words_and_later_tasks_are_judged(
    tier: str, source: str, what: str, best_pool: WorkerPool
) -> None:
    tier = best_pool.tier if tier == "best" else tier
    found = run_visible(notebook(source), tier, LIMITS)
    assert found["double"] == Visible("failed", f"{what} {STOPPED}")
    assert found["half"] == Visible("passed")


def test_a_loop_that_cannot_be_interrupted_is_told_too(best_pool: WorkerPool) -> None:
    stubborn = "def double(x):\n    return sum(range(10**12))\n"
    found = run_visible(notebook(stubborn), best_pool.tier, LIMITS)
    assert found["double"] == Visible("failed", f"the check cell {STOPPED}")
    assert found["half"] == Visible("not run", "the notebook had ended with an earlier cell")


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import os\nos._exit(0)", "the cell with your code"),
        ("import os\ndef double(x):\n    os._exit(0)", "the check cell"),
    ],
)
def test_code_that_ends_the_process_is_told_soon(source: str, what: str, best_pool: WorkerPool) -> None:
    start = time.monotonic()
    found = run_visible(notebook(source), best_pool.tier)
    assert time.monotonic() - start < Limits().visible_cell_seconds
    assert found["double"] == Visible("failed", f"{what} ended the process that runs the notebook")
    assert found["half"] == Visible("not run", "the notebook had ended with an earlier cell")


def test_an_error_without_a_text_is_told_by_its_name() -> None:
    found = run_visible(notebook("def double(x):\n    raise LookupError"), "none", LIMITS)
    assert found["double"] == Visible("failed", "LookupError")


def commands_with(folder: Path) -> list[str]:
    """Return the command lines of running processes that name a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def kernels(folder: Path) -> list[str]:
    return [line for line in commands_with(folder) if "connection.json" in line]


@LINUX
@pytest.mark.parametrize("tier", ["none", pytest.param("best", marks=pytest.mark.slow)])
def test_a_notebook_that_takes_too_long_is_judged_so_far_and_leaves_no_process(
    tier: str, best_pool: WorkerPool, short: Path
) -> None:
    """Its threads, too, which never let the kernel look whether its parent is there."""
    spinning = "import threading\n\n\ndef spin():\n    while True: sum(range(10**9))\n\n\n"
    spinning += "threading.Thread(target=spin).start()\nwhile True: pass"
    seen: list[str] = []
    watch = threading.Timer(8.0, lambda: seen.extend(kernels(short)))
    watch.start()
    limits = Limits(visible_cell_seconds=60, visible_wall_seconds=20.0)
    found = run_visible(notebook(RIGHT, spinning), best_pool.tier if tier == "best" else tier, limits)
    watch.join()
    assert seen
    assert found["double"] == Visible("passed")
    assert found["half"] == Visible("not run", "the notebook took longer than 20 seconds")
    deadline = time.monotonic() + 10
    while commands_with(short) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert commands_with(short) == []


def test_threads_that_go_on_are_no_matter(best_pool: WorkerPool) -> None:
    """They compute and print while the next task is checked: what they print belongs to the cell that started them."""
    busy = """
import threading, time
def talk():
    while True:
        print("still here")
        time.sleep(0.01)
def spin():
    while True: pass
for work in (talk, spin):
    threading.Thread(target=work).start()
"""
    found = run_visible(notebook(RIGHT + busy), best_pool.tier)
    assert found == {"double": Visible("passed"), "half": Visible("passed")}


@pytest.mark.slow
def test_a_thread_that_prints_too_much_is_told(best_pool: WorkerPool) -> None:
    flood = "import threading\ndef flood():\n    while True: print('x' * 10**6)\nthreading.Thread(target=flood).start()"
    start = time.monotonic()
    found = run_visible(notebook(f"{RIGHT}\n{flood}"), best_pool.tier, LIMITS)
    assert time.monotonic() - start < LIMITS.visible_wall_seconds + 20
    for seen in found.values():
        assert seen.status == "passed" or seen.text


def test_the_lock_gives_cells_time_to_be_stopped_in(best_pool: WorkerPool) -> None:
    """The cap on computing would end the process, and with it the checks of later tasks."""
    limits = Limits()
    seconds = limits.visible_cell_seconds * 2
    asking = f"import resource\nassert resource.getrlimit(resource.RLIMIT_CPU)[0] > {seconds}, 'too little'\n"
    assert run_visible(notebook(asking + RIGHT), best_pool.tier)["double"] == Visible("passed")
