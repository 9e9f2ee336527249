"""A student's first minutes: an exercise opens in JupyterLab, its check speaks, a right answer passes and is kept."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from booksite import Visitor

NOTEBOOK = "01_change_of_variables.ipynb"
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}
ALL_CELLS = {"windowingMode": "none"}
PATIENCE = 90_000  # milliseconds; two cores may be busy with other tests
PROMPTS = "document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')"
RAN_ANEW = f"([n, old]) => {PROMPTS}[n].innerText !== old && /\\d/.test({PROMPTS}[n].innerText)"


class Lab:
    """A JupyterLab server on this machine over a copy of the exercises."""

    def __init__(self, folder: Path, exercises: Path) -> None:
        self.files = folder / "files" / "exercises"
        shutil.copytree(exercises, self.files)
        self.port, self.token = free_port(), secrets.token_hex(16)
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR")
        names += ("JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
        homes = {name: folder / name.lower() for name in names}
        settings = homes["JUPYTERLAB_SETTINGS_DIR"] / "@jupyterlab"
        write_json(settings / "apputils-extension" / "notification.jupyterlab-settings", NO_NEWS)
        write_json(settings / "notebook-extension" / "tracker.jupyterlab-settings", ALL_CELLS)
        options = [
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.files.parent}",
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
            "--ServerApp.terminals_enabled=False",
        ]
        environment = {**os.environ, **{name: str(path) for name, path in homes.items()}}
        self.log = (folder / "lab.log").open("w", encoding="utf-8")
        command = [sys.executable, "-m", "jupyterlab", *options]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)

    def ask(self, path: str, method: str = "GET") -> None:
        address = f"http://127.0.0.1:{self.port}{path}?token={self.token}"
        urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=5).close()

    def wait(self) -> None:
        for _ in range(PATIENCE // 250):
            try:
                return self.ask("/api/status")
            except (URLError, OSError):
                assert self.process.poll() is None, "JupyterLab ended by itself"
                time.sleep(0.25)
        raise AssertionError("JupyterLab did not start")

    def stop(self) -> None:
        try:
            self.ask("/api/shutdown", "POST")
            self.process.wait(20)
        except (URLError, OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        self.log.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def code_cells(path: Path) -> list[dict]:
    """Return the code cells of a notebook, their source as one string."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture
def lab(tmp_path, root) -> Iterator[Lab]:
    lab = Lab(tmp_path, root / "exercises")
    try:
        lab.wait()
        yield lab
    finally:
        lab.stop()


@pytest.mark.timeout(400)
def test_an_exercise_is_solved_in_jupyterlab(lab, browser, root):
    cells = code_cells(lab.files / NOTEBOOK)
    solutions = {cell["id"]: cell["source"] for cell in code_cells(root / "solutions" / NOTEBOOK)}
    task = next(n for n, cell in enumerate(cells) if cell["metadata"].get("nbgrader", {}).get("solution"))
    name = cells[task]["id"]
    check = next(n for n, cell in enumerate(cells) if cell["id"] == f"{name}-check")
    assert "YOUR CODE HERE" in cells[task]["source"]

    visitor = Visitor(browser)
    page = visitor.page
    page.set_default_timeout(PATIENCE)
    page.goto(f"http://127.0.0.1:{lab.port}/lab/tree/exercises/{NOTEBOOK}?reset&token={lab.token}")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_selector("#jupyterlab-splash", state="detached")
    page.wait_for_function("() => /Idle/.test(document.querySelector('#jp-main-statusbar')?.innerText || '')")

    def run(number: int) -> str:
        """Run a code cell and return what it printed."""
        cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
        prompt = cell.locator(".jp-InputPrompt").inner_text()
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        page.wait_for_function(RAN_ANEW, arg=[number, prompt])
        return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())

    for number in range(task + 1):
        run(number)
    assert "is not written yet" in run(check)

    page.locator(".jp-Notebook .jp-CodeCell").nth(task).locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(solutions[name])
    assert run(task) == ""
    assert f"{name}: visible checks passed" in run(check)

    page.keyboard.press("Escape")
    page.keyboard.press("ControlOrMeta+s")
    stored = {}
    for _ in range(100):
        stored = {cell["id"]: cell for cell in code_cells(lab.files / NOTEBOOK)}
        if stored[name]["source"] == solutions[name]:
            break
        page.wait_for_timeout(100)
    assert stored[name]["source"] == solutions[name]
    assert [stored[cell["id"]]["metadata"]["nbgrader"] for cell in cells if "nbgrader" in cell["metadata"]] == [
        cell["metadata"]["nbgrader"] for cell in cells if "nbgrader" in cell["metadata"]
    ]
    assert visitor.refused == []
    visitor.context.close()
