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
from collections.abc import Generator
from pathlib import Path
from typing import Any

import nbval.kernel
import pytest

__all__ = ["main"]

MEMORY_BYTES = 2 << 30
KERNEL_START_SECONDS = 120
PR_SET_PDEATHSIG = 1


class Recorder:
    """Notes, for each cell with a name, whether nbval let it pass and what the cell raised."""

    def __init__(self) -> None:
        self.cells: dict[str, dict[str, str]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Keep the outcome of a cell."""
        report = yield
        cell: Any = getattr(item, "cell", None)
        name = cell.metadata.get("nbgrader", {}).get("grade_id") if cell is not None else None
        if name is not None and (report.when == "call" or call.excinfo is not None):
            self.cells[name] = {"status": self._status(report), "text": self._text(item, call)}
        return report

    def _status(self, report: pytest.TestReport) -> str:
        if hasattr(report, "wasxfail") or report.skipped:
            return "not run"
        return "passed" if report.passed else "failed"

    def _text(self, item: Any, call: pytest.CallInfo[None]) -> str:
        if call.excinfo is None:
            return ""
        for output in getattr(item, "test_outputs", None) or []:
            if output.get("output_type") == "error":
                return f"{output.get('ename')}: {output.get('evalue')}"[:2000]
        return str(call.excinfo.value)[:2000]


def _limit_memory() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))


def _end_with_grader() -> None:
    """Let the kernel of the system end this process, and so the notebook's kernel, when the grader ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _use_unix_sockets(folder: Path) -> None:
    """Let nbval's kernel listen on unix sockets in its own folder, where no one else reaches them."""
    manager: Any = nbval.kernel
    manager.KernelManager = functools.partial(
        manager.KernelManager, transport="ipc", ip=str(folder / "k"), connection_file=str(folder / "connection.json")
    )


def main() -> None:
    """Run nbval with a kernel on unix sockets, under a limit of memory."""
    notebook, result, folder, seconds = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    if sys.platform.startswith("linux"):
        _end_with_grader()
    if sys.platform != "win32":
        _limit_memory()
        _use_unix_sockets(folder)
    recorder = Recorder()
    arguments = ["-c", os.devnull, "--rootdir", str(notebook.parent), "--noconftest", "-p", "nbval.plugin"]
    arguments += ["-p", "no:cacheprovider", "--capture=no", "--color=no", "-W", "ignore"]
    arguments += ["--nbval", "--nbval-kernel-name", "checked", "--nbval-cell-timeout", seconds]
    arguments += ["--nbval-kernel-startup-timeout", str(KERNEL_START_SECONDS), str(notebook)]
    pytest.main(arguments, plugins=[recorder])
    result.write_text(json.dumps(recorder.cells), encoding="utf-8")


if __name__ == "__main__":
    main()
