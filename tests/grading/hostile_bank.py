"""The bank of hostile submissions: reads tests/grading/hostile, and the watched world in which they are graded.

A file starts with comment lines ``# key: value``:

* ``class`` (one of `CLASSES`), ``attack`` (a sentence), ``task`` (exercise/task);
* ``form``: ``cell`` (the text of the solution cell), ``refused`` (an attack; the cell's answer is right only where it
  raised nothing) or ``submission`` (``build(notebook, folder)`` writes the file that is handed in; the notebook's other
  tasks are right, the attacked one is wrong);
* ``visible: yes``: the visible stage and the report are attacked too;
* ``outcome: refused``: the file is no notebook; ``beside: may suffer``: the attack may cost its own notebook's other
  tasks; ``visible_beside: may suffer``: only what the visible stage shows of them.

``@suite@``, ``@results@`` … stand for the paths of `World.places`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import course_flows
from course_flows.grading import notebooks
from course_flows.grading.course import Course

FOLDER = Path(__file__).parent / "hostile"
CLASSES = (
    "loops",
    "exits",
    "signals",
    "memory",
    "processes",
    "output",
    "writes",
    "other processes",
    "file system",
    "patches",
    "lying objects",
    "results",
    "protocol",
    "pickles",
    "descriptors",
    "sockets",
    "shared memory",
    "disk space",
    "left running",
    "system calls",
    "exception text",
    "stack and heap",
    "submission",
    "poisoned folder",
    "notebook tricks",
)
KEYS = {"class", "attack", "task", "form", "visible", "outcome", "beside", "visible_beside"}

RIGHT = """
def scale_log_density(x, a):
    return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(abs(a))
"""
WRONG = "def scale_log_density(x, a):\n    return -0.5 * x**2\n"


@dataclass(frozen=True)
class Hostile:
    """One file of the bank."""

    path: Path
    header: dict[str, str]
    body: str

    @property
    def name(self) -> str:
        """The file's name without ending."""
        return self.path.stem

    @property
    def task(self) -> str:
        """The attacked task."""
        return self.header["task"].rpartition("/")[2]

    def says(self, key: str, value: str) -> bool:
        """Tell whether the header holds a value."""
        return self.header.get(key) == value

    def cell(self, places: dict[str, str]) -> str:
        """Return the text of the solution cell, with the places of this run."""
        body = _fill(self.body, places)
        return unless_refused(body) if self.says("form", "refused") else body

    def build(self, notebook: dict[str, Any], folder: Path, places: dict[str, str]) -> Path:
        """Write what is handed in; return its path."""
        if not self.says("form", "submission"):
            set_cell(notebook, self.task, self.cell(places))
            path = folder / "handed_in.ipynb"
            path.write_text(json.dumps(notebook), encoding="utf-8")
            return path
        namespace: dict[str, Any] = {"json": json}
        exec(_fill(self.body, places), namespace)
        path = namespace["build"](notebook, folder)
        assert isinstance(path, Path)
        return path


def load_bank() -> list[Hostile]:
    """Return every file of the bank, by name."""
    return [_load(path) for path in sorted(FOLDER.glob("*.py"))]


def _load(path: Path) -> Hostile:
    head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    lines = [re.fullmatch(r"# (\w+): (.+)", line) for line in head.splitlines()]
    return Hostile(path, {line[1]: line[2] for line in lines if line}, body)


def _fill(text: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        text = text.replace(f"@{name}@", place)
    return text


def unless_refused(attack: str) -> str:
    """Return a cell whose function answers rightly only where ``attack`` raises nothing."""
    body = "\n".join("    " + line for line in attack.strip().splitlines())
    return f"""
import os, socket, subprocess, ctypes, pathlib, signal, threading, time, sys

def attack():
{body}

def scale_log_density(x, a):
    try:
        attack()
    except BaseException:
        return None
    return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(abs(a))
"""


def set_cell(notebook: dict[str, Any], name: str, source: str) -> None:
    """Replace the text of the cell of a task."""
    for cell in notebook["cells"]:
        if notebooks.grade_id(cell) == name:
            cell["source"] = source


class World:
    """What an attack may be after: a course, an earlier report, a home, all of it writable for everyone, and watched.

    ``tmp`` is where the grader and its workers put their folders.
    """

    def __init__(self, mini: Path, port: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="watched-"))
        shutil.copytree(mini, self.root / "course", ignore=shutil.ignore_patterns("__pycache__"))
        self.course = Course(self.root / "course")
        self.tmp, self.results, self.inbox = self.root / "tmp", self.root / "results", self.root / "inbox"
        home = self.root / "home"
        for folder in (self.tmp, self.results, self.inbox, home):
            folder.mkdir()
        (self.results / "report.json").write_text('{"points": 0}', encoding="utf-8")
        (home / ".bashrc").write_text("# nothing\n", encoding="utf-8")
        (home / "token").write_text("secret\n", encoding="utf-8")
        for path in (self.root, *self.root.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
        self.places = {
            "course": str(self.course.root),
            "solution": str(self.course.solutions / "00_mini.ipynb"),
            "suite": str(self.course.suite("00_mini")),
            "hidden": str(self.course.hidden),
            "results": str(self.results),
            "home": str(home),
            "tmp": str(self.tmp),
            "grader": str(Path(course_flows.__file__).parent / "grading" / "hidden.py"),
            "port": str(port),
        }

    def notebook(self) -> dict[str, Any]:
        """Return the released notebook with every task answered rightly but the attacked one."""
        notebook = self.course.release("00_mini")
        for cell in self.course.solution("00_mini")["cells"]:
            if notebooks.is_solution(cell):
                set_cell(notebook, notebooks.grade_id(cell) or "", notebooks.source_of(cell))
        set_cell(notebook, "scale-density", WRONG)
        return notebook

    def fingerprint(self) -> str:
        """Return a hash of names, modes, times and contents of what is watched: this world, the package, torch."""
        digest = hashlib.sha256()
        for folder in (self.root, Path(course_flows.__file__).parent / "grading"):
            for path in self._files(folder):
                status = path.lstat()
                digest.update(f"{path} {status.st_mode} {status.st_mtime_ns} {status.st_size}".encode())
                digest.update(path.read_bytes() if path.is_file() else b"")
        packages = Path(torch.__file__).parents[1]
        status = Path(torch.__file__).stat()
        digest.update(f"{status.st_mode} {status.st_mtime_ns} {status.st_size}".encode())
        digest.update("\n".join(sorted(os.listdir(packages))).encode())
        digest.update("\n".join(sorted(os.listdir("/dev/shm") if Path("/dev/shm").is_dir() else [])).encode())
        return digest.hexdigest()

    def _files(self, folder: Path) -> Iterator[Path]:
        for path in sorted(folder.rglob("*")):
            unwatched = path.is_relative_to(self.tmp) or path.is_relative_to(self.inbox)
            if not unwatched and "__pycache__" not in path.parts:
                yield path

    def left_behind(self) -> list[str]:
        """Return what lies in the grader's temporary folders beside what the grader itself keeps there."""
        own = re.compile(r"course-flows-[^/.]+(/server\.log|/torchinductor_\w+)?")
        names = [str(path.relative_to(self.tmp)) for path in self.tmp.rglob("*")]
        return [name for name in names if not own.fullmatch(name)]

    def close(self) -> None:
        """Remove the world."""
        shutil.rmtree(self.root)
