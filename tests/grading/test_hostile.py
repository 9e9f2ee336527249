"""The bank of hostile submissions: each scores 0 on the task it attacks, costs no other task anything, changes nothing.

An ordinary run tries one submission of every class in the strongest tier; ``make test-hostile`` all of them in each.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_bank
import pytest
from hostile_bank import CLASSES, Hostile, World

from course_flows.grading.course import Course
from course_flows.grading.grade import grade_file
from course_flows.grading.hidden import grade_source
from course_flows.grading.limits import Limits
from course_flows.grading.notebooks import NotebookError
from course_flows.grading.pool import PoolError, WorkerPool

BANK = hostile_bank.load_bank()
TIERS = ("namespaces", "landlock")
ATTACKED, OTHER = "scale-density", "shift-module"
MAX_SECONDS = 90
FAST = {
    "loops": "endless_loop",
    "exits": "exit_in_call",
    "signals": "kill_parent",
    "memory": "memory",
    "processes": "fork",
    "output": "flood_of_errors",
    "writes": "write_result",
    "other processes": "ptrace",
    "file system": "walk_for_suites",
    "patches": "patched_asserts",
    "lying objects": "lying_shape",
    "results": "empty",
    "protocol": "takes_over_the_worker",
    "pickles": "pickle",
    "descriptors": "inherited_descriptors",
    "sockets": "sockets_of_every_kind",
    "shared memory": "shared_memory",
    "disk space": "prevents_cleaning_up",
    "left running": "at_exit",
    "system calls": "odd_system_calls",
    "exception text": "escapes_in_names",
    "stack and heap": "frames",
    "submission": "deep_json",
    "poisoned folder": "conftest",
    "notebook tricks": "ipython_hook",
}


LIMITS = Limits(
    call_cpu_seconds=2.0, call_wall_seconds=15.0, worker_cpu_seconds=20, losses_per_task=1, visible_cell_seconds=10
)


@contextlib.contextmanager
def watched_world() -> Iterator[World]:
    """Make the watched world; the folders of graders and workers go into its ``tmp``."""
    before = tempfile.tempdir
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = World(Path(__file__).parent / "mini", server.getsockname()[1])
        tempfile.tempdir = str(made.tmp)
        try:
            yield made
        finally:
            tempfile.tempdir = before
            left = sorted(path.name for path in made.tmp.iterdir())
            made.close()
    assert left == []


@contextlib.contextmanager
def tier_pools() -> Iterator[dict[str, WorkerPool]]:
    """Start a pool in each tier that this machine has, with limits under which an endless loop ends soon."""
    with contextlib.ExitStack() as stack:
        pools: dict[str, WorkerPool] = {}
        for tier in TIERS:
            with contextlib.suppress(PoolError):
                pool = stack.enter_context(WorkerPool(tier, LIMITS))
                pool.spawn().end()
                pools[tier] = pool
        yield pools


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The watched world of these tests."""
    with watched_world() as made:
        yield made


@pytest.fixture(scope="module")
def watched_pools(world: World) -> Iterator[dict[str, WorkerPool]]:
    """The pools of these tests, whose folders lie in the watched world."""
    with tier_pools() as pools:
        yield pools


def tier_or_skip(pools: dict[str, WorkerPool], tier: str) -> WorkerPool:
    if tier not in pools:
        pytest.skip(f"the tier {tier} cannot be had on this machine")
    return pools[tier]


def run_attack(attack: Hostile, world: World, pool: WorkerPool) -> None:
    """Grade one hostile submission and require everything that is promised."""
    before = world.fingerprint()
    folder = Path(tempfile.mkdtemp(dir=world.inbox))
    path = attack.build(world.notebook(), folder, world.places)
    start = time.monotonic()
    if attack.says("outcome", "refused"):
        with pytest.raises(NotebookError) as info:
            grade_file(path, world.course, pool, visible=False)
        assert harmless(str(info.value))
    else:
        grading = grade_file(path, world.course, pool, visible=attack.says("visible", "yes"))
        rows = {row["id"]: row for row in grading.report["tasks"]}
        assert rows[ATTACKED]["points"] == 0
        if not attack.says("beside", "may suffer"):
            assert rows[OTHER]["points"] == rows[OTHER]["max_points"]
            assert grading.faults == []
            if attack.says("visible", "yes") and not attack.says("visible_beside", "may suffer"):
                assert rows[OTHER]["visible"] == "passed"
        assert all(harmless(text) for text in texts_of(grading.report))
    assert time.monotonic() - start < MAX_SECONDS
    assert world.fingerprint() == before
    assert world.left_behind() == []


def texts_of(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in (*value, *value.values()) for text in texts_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []


def harmless(text: str) -> bool:
    """Whether a text is one short line that no terminal, log or CI system takes for a command."""
    text.encode("utf-8")
    marks = ("\x1b", "\n", "\r", "\u202e", "\u2066", "::", "##[", "\x00")
    return len(text) < 1000 and not any(mark in text for mark in marks)


def test_the_bank_is_large_and_of_every_class() -> None:
    found = Counter(attack.header["class"] for attack in BANK)
    assert set(found) == set(CLASSES) == set(FAST)
    assert len(BANK) >= 50
    for attack in BANK:
        assert set(attack.header) <= hostile_bank.KEYS, attack.name
        assert attack.header["task"] == f"00_mini/{ATTACKED}", attack.name
        assert attack.header["form"] in ("cell", "refused", "submission"), attack.name
        assert attack.header["attack"], attack.name
    classes = {attack.name: attack.header["class"] for attack in BANK}
    for kind, name in FAST.items():
        assert classes[name] in (kind, "file system"), name


def test_the_frame_of_the_attacks_itself_gets_the_points(world: World, watched_pools: dict[str, WorkerPool]) -> None:
    harmless_cell = "open('own', 'w').write('x')\nos.makedirs('d', exist_ok=True)\nos.listdir('.')"
    for pool in watched_pools.values():
        for source in (hostile_bank.RIGHT, hostile_bank.unless_refused(harmless_cell)):
            outcome = grade_source(world.course, "00_mini", {ATTACKED: source}, pool)
            assert outcome.points == outcome.max_points


def test_the_watch_sees_changes(world: World) -> None:
    before = world.fingerprint()
    report = world.results / "report.json"
    text, status = report.read_bytes(), report.stat()
    report.write_bytes(text)
    assert world.fingerprint() != before
    os.utime(report, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert world.fingerprint() == before


@pytest.mark.parametrize("name", FAST.values())
def test_one_of_every_class(name: str, world: World, watched_pools: dict[str, WorkerPool]) -> None:
    attack = next(attack for attack in BANK if attack.name == name)
    assert watched_pools, "no tier of isolation can be had on this machine"
    run_attack(attack, world, next(iter(watched_pools.values())))


@pytest.mark.hostile
@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("attack", BANK, ids=[attack.name for attack in BANK])
def test_the_whole_bank(attack: Hostile, tier: str, world: World, watched_pools: dict[str, WorkerPool]) -> None:
    run_attack(attack, world, tier_or_skip(watched_pools, tier))


def test_a_closed_pool_leaves_no_process_and_no_folder(mini: Course) -> None:
    with WorkerPool("landlock") as pool:
        folder, process = pool._folder, pool._process
        worker = pool.spawn()
        assert folder.is_dir()
        assert len(os.listdir(folder)) >= 1
    assert worker.layers
    assert process.poll() is not None
    assert not folder.exists()


GRADER = """
import sys, tempfile
from pathlib import Path
from course_flows.grading.course import Course
from course_flows.grading.grade import grade_file
from course_flows.grading.isolation import open_pool
tempfile.tempdir = sys.argv[1]
if __name__ == "__main__":
    with open_pool() as pool:
        grade_file(Path(sys.argv[2]), Course(Path(sys.argv[3])), pool)
"""


def test_a_grader_killed_in_the_visible_stage_leaves_no_kernel(world: World) -> None:
    """Neither nbval nor the notebook's kernel, which is in an endless loop, outlives the grader."""
    notebook, folder = world.notebook(), Path(tempfile.mkdtemp(dir=world.inbox))
    loop = "try:\n    get_ipython()\n    while True: pass\nexcept NameError: pass\n"
    hostile_bank.set_cell(notebook, ATTACKED, loop + hostile_bank.RIGHT)
    path = folder / "handed_in.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    own = Path(tempfile.mkdtemp(dir=world.tmp))
    own.chmod(0o777)
    grader = subprocess.Popen([sys.executable, "-c", GRADER, str(own), str(path), str(world.course.root)])
    try:
        assert wait_for(lambda: any("grading.kernel" in line for line in commands_with(own)), 60)
        time.sleep(2)
    finally:
        os.kill(grader.pid, signal.SIGKILL)
        grader.wait()
    left = wait_for(lambda: not commands_with(own), 15)
    subprocess.run(["rm", "-rf", str(own)], check=True)
    assert left, commands_with(own)


def wait_for(condition: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False


def commands_with(folder: Path) -> list[str]:
    """Return the command lines of the running processes that name a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(folder) in line and "grade_file" not in line:
                found.append(line)
    return found
