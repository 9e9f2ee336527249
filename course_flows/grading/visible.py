"""The visible stage: nbval runs the rebuilt notebook's checks in a kernel behind the lock.

It shows a student what the checks of the notebook say; it grants no points, since a check cell shares its kernel with
the code that it checks.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_flows.grading import notebooks
from course_flows.grading.environment import clean_environment
from course_flows.grading.limits import Limits
from course_flows.grading.scratch import outgrown, remove
from course_flows.grading.text import one_line

__all__ = ["Visible", "run_visible"]

POLL_SECONDS = 0.25
END_SECONDS = 10.0
NOT_RUN = "not run"
CODE, CHECK = "the cell with your code", "the check cell"


@dataclass(frozen=True)
class Visible:
    """What the visible checks of one task said: ``passed``, ``failed`` or ``not run``, and why."""

    status: str
    text: str = ""


def run_visible(notebook: dict[str, Any], tier: str, limits: Limits | None = None) -> dict[str, Visible]:
    """Run a rebuilt notebook's checks with nbval, its kernel isolated as ``tier`` says; return them by task."""
    limits = limits or Limits()
    tasks = [task.name for task in notebooks.tasks_of(notebook)]
    folder = Path(tempfile.mkdtemp(prefix="course-flows-"))
    folder.chmod(0o711)
    try:
        problem, cells = _run_nbval(notebook, tier, limits, folder)
    finally:
        remove(folder)
    return {task: _of_task(task, cells, problem, limits) for task in tasks}


def with_expected_outputs(notebook: dict[str, Any]) -> dict[str, Any]:
    """Return the notebook with the outputs that its author stored for the check cells, and with no other."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if notebooks.is_check(cell):
            text = notebooks.expected_output(cell) + "\n"
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": text}]
            cell["execution_count"] = 1
    return notebook


def _run_nbval(
    notebook: dict[str, Any], tier: str, limits: Limits, folder: Path
) -> tuple[str, dict[str, dict[str, str]]]:
    """Start nbval in its own process; return why it ended early, if it did, and what it found for each cell."""
    scratch, result = folder / "scratch", folder / "result.json"
    scratch.mkdir(mode=0o700)
    (folder / "notebook").mkdir()
    rebuilt = folder / "notebook" / "rebuilt.ipynb"
    rebuilt.write_text(notebooks.dump(with_expected_outputs(notebook)), encoding="utf-8")
    _write_kernelspec(folder, scratch, tier, limits)
    command = [sys.executable, "-I", "-B", "-m", "course_flows.grading.visible_run"]
    command += [str(rebuilt), str(result), str(scratch), str(limits.visible_cell_seconds)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=(dict(os.environ) if tier == "none" else clean_environment(folder))
        | {
            "JUPYTER_PATH": str(folder / "jupyter"),
            "JUPYTER_RUNTIME_DIR": str(scratch),
            "JUPYTER_CONFIG_DIR": str(folder),
            "JUPYTER_NO_CONFIG": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        start_new_session=True,
    )
    problem = _wait(process, scratch, limits)
    try:
        # the folder's name is random, a report is not
        return problem, json.loads(result.read_text(encoding="utf-8").replace(str(scratch), "/scratch"))
    except (OSError, ValueError):
        return problem or "the run of the notebook ended early", {}


def _write_kernelspec(folder: Path, scratch: Path, tier: str, limits: Limits) -> None:
    spec = folder / "jupyter" / "kernels" / "checked"
    spec.mkdir(parents=True)
    python = [sys.executable, "-B", "-m"]
    command = [*python, "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    if tier != "none":
        command = [sys.executable, "-I", "-B", "-m", "course_flows.grading.kernel"]
        command += ["{connection_file}", str(scratch)]
    if tier == "namespaces":
        from course_flows.grading.bubblewrap import bubblewrap_command

        command = bubblewrap_command(command, limits, writable=scratch, die_with_parent=True)
    interrupt = "signal" if tier == "none" else "message"
    text = {"argv": command, "display_name": "checked", "language": "python", "interrupt_mode": interrupt}
    (spec / "kernel.json").write_text(json.dumps(text), encoding="utf-8")


def _wait(process: subprocess.Popen[bytes], scratch: Path, limits: Limits) -> str:
    """Wait for nbval; end it, and with it its kernel, where it takes too long or its scratch folder outgrows."""
    deadline = time.monotonic() + limits.visible_wall_seconds
    problem = ""
    try:
        while process.poll() is None and not problem:
            try:
                process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                if time.monotonic() > deadline:
                    problem = f"the notebook took longer than {limits.visible_wall_seconds:.0f} seconds"
                elif outgrown(scratch, limits):
                    problem = "your code wrote more files, or larger ones, than it may"
    finally:
        _end(process)
    return problem


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let nbval end its kernel and note what it found so far; end nbval where it does not leave."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def _of_task(task: str, cells: dict[str, dict[str, str]], problem: str, limits: Limits) -> Visible:
    own, check = cells.get(task), cells.get(f"{task}-check")
    if own is not None and own["manner"] in ("late", "ended", "unread") and (check is None or check["manner"]):
        return Visible("failed", _words(CODE, own, limits))
    if check is None:
        return Visible(NOT_RUN, problem)
    if check["manner"] == "dead":
        return Visible(NOT_RUN, "the notebook had ended with an earlier cell")
    if own is not None and own["manner"] == "raised" and check["status"] == "failed":
        return Visible("failed", _words(CODE, own, limits))
    return Visible(check["status"], _words(CHECK, check, limits))


def _words(what: str, cell: dict[str, str], limits: Limits) -> str:
    """Say how a cell failed; nothing for one that passed."""
    if cell["manner"] == "raised":
        return one_line(cell["text"]) if what == CHECK else f"{what} stopped: {one_line(cell['text'])}"
    endings = {
        "late": f"took longer than {limits.visible_cell_seconds} seconds and was stopped "
        "(does your code loop without end?)",
        "ended": "ended the process that runs the notebook",
        "unread": "sent output that could not be read (does your code print without end?)",
        "differs": "printed something else than it should (does your code print?)",
    }
    return f"{what} {endings[cell['manner']]}" if cell["manner"] in endings else ""
