"""Runs nbval on one rebuilt notebook and writes what became of its check cells; a process of its own.

Run as ``python -m course_flows.grading.visible_run NOTEBOOK RESULT FOLDER SECONDS`` by `course_flows.grading.visible`.
What a kernel sends is data here, and too much of it costs only this process its life.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Generator
from pathlib import Path
from queue import Empty
from typing import Any

import nbval.kernel
import nbval.plugin
import pytest

__all__ = ["main"]

MEMORY_BYTES = 2 << 30
KERNEL_START_SECONDS = 120
POLL_SECONDS = 1.0
PR_SET_PDEATHSIG = 1
# nbval's words, and what they say of a cell
MANNERS = {
    "Kernel dead": "dead",
    "Timeout of 5 seconds exceeded waiting": "unread",
    "Timeout": "late",
    "Cell outputs differ": "differs",
}


class KernelEndedError(Exception):
    """The kernel's process ended while it ran a cell."""


class Kernel(nbval.kernel.RunningKernel):
    """Nbval's kernel, which notices soon that its process has ended."""

    def await_reply(self, msg_id: str, timeout: float) -> None:
        """Wait for the end of a cell; raise Empty where it takes longer than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            try:
                super().await_reply(msg_id, timeout=max(0.0, min(POLL_SECONDS, left)))
                return
            except Empty:
                if not self.is_alive():
                    raise KernelEndedError from None
                if left <= 0:
                    raise


class Recorder:
    """Notes, for each cell with a name, whether nbval let it pass, and in which manner it failed."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """Judge a cell by itself: nbval expects every cell after one that was stopped to fail."""
        item.parent.timed_out = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the outcome of a cell."""
        report = yield
        cell: Any = getattr(item, "cell", None)
        name = cell.metadata.get("nbgrader", {}).get("grade_id") if cell is not None else None
        if name is not None and (report.when == "call" or call.excinfo is not None):
            self.cells[name] = {"status": _status(report)} | _told(item, call)
        return report


def _status(report: pytest.TestReport) -> str:
    if report.skipped:
        return "not run"
    return "passed" if report.passed else "failed"


def _told(item: Any, call: pytest.CallInfo[None]) -> dict[str, str]:
    """Return how a cell failed, ``manner``, and its own error as text where it raised one."""
    if call.excinfo is None:
        return {"manner": "", "text": ""}
    if call.excinfo.errisinstance(KernelEndedError):
        return {"manner": "ended", "text": ""}
    said = str(call.excinfo.value)
    manner = next((manner for words, manner in MANNERS.items() if said.startswith(words)), "unread")
    if manner == "unread":
        for output in getattr(item, "test_outputs", None) or []:
            if output.get("output_type") == "error":
                text = ": ".join(str(output[key]) for key in ("ename", "evalue") if output.get(key))
                return {"manner": "raised", "text": text[:2000]}
    return {"manner": manner, "text": ""}


def _limit_memory() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))


def _end_with_grader() -> None:
    """Let the kernel of the system end this process, and so the notebook's kernel, when the grader ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _use_own_kernel() -> None:
    plugin: Any = nbval.plugin
    plugin.RunningKernel = Kernel


def _use_unix_sockets(folder: Path) -> None:
    """Let nbval's kernel listen on unix sockets in its own folder, where no one else reaches them."""
    manager: Any = nbval.kernel
    manager.KernelManager = functools.partial(
        manager.KernelManager, transport="ipc", ip=str(folder / "k"), connection_file=str(folder / "connection.json")
    )


def main() -> None:
    """Run nbval with a kernel on unix sockets, under a limit of memory; asked to end, stop the kernel first."""
    notebook, result, folder, seconds = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    if sys.platform.startswith("linux"):
        _end_with_grader()
    if sys.platform != "win32":
        _limit_memory()
        _use_unix_sockets(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _use_own_kernel()
    recorder = Recorder()
    arguments = ["-c", os.devnull, "--rootdir", str(notebook.parent), "--noconftest", "-p", "nbval.plugin"]
    arguments += ["-p", "no:cacheprovider", "--capture=no", "--color=no", "-W", "ignore"]
    arguments += ["--nbval", "--nbval-kernel-name", "checked", "--nbval-cell-timeout", seconds]
    arguments += ["--nbval-kernel-startup-timeout", str(KERNEL_START_SECONDS), str(notebook)]
    pytest.main(arguments, plugins=[recorder])
    result.write_text(json.dumps(recorder.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
