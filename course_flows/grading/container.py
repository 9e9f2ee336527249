"""Grading inside a container: Docker or Podman around the whole grader, which locks submissions up again inside it.

For macOS and Windows, which have no tier of their own, and as one more wall on Linux. The container has no network, no
privileges and a file system that cannot be written; the course and the submissions are bound read-only, only the
report's folder can be changed, and nothing is pulled. Where the lock cannot be set inside, nothing is graded there.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_flows.grading.course import Course

__all__ = [
    "ENGINES",
    "Bind",
    "binds_of",
    "container_command",
    "find_engine",
    "in_container",
    "run_container",
    "tier_name",
]

ENGINES = ("docker", "podman")
MARK = "COURSE_FLOWS_CONTAINER"
ENVIRONMENT = {MARK: "1", "HOME": "/tmp", "TMPDIR": "/tmp", "OMP_NUM_THREADS": "1"}
COURSE_PARTS = ("solutions", "tests/hidden", "tests/answers", "book")
NOT_STARTED = (125, 126, 127)  # what engines answer where they, not what runs inside, failed


@dataclass(frozen=True)
class Bind:
    """A file or folder of this machine and its place in the container."""

    source: Path
    target: str
    writable: bool = False

    def option(self) -> str:
        """Return the value of ``--mount``, which is a line of CSV: paths may hold commas, quotes and colons."""
        fields = ["type=bind", f"source={self.source}", f"target={self.target}"]
        line = io.StringIO()
        csv.writer(line).writerow(fields if self.writable else [*fields, "readonly"])
        return line.getvalue().removesuffix("\r\n")


def find_engine(wanted: str | None = None) -> str | None:
    """Return the program of the wanted container engine, or of the first on PATH; None where there is none."""
    found = (shutil.which(name) for name in ([wanted] if wanted else ENGINES))
    return next((path for path in found if path), None)


def in_container(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether this grader was started in a container by another one."""
    return environment.get(MARK) == "1"


def tier_name(tier: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return how a report names a tier: inside a container, ``container`` with the tier that holds in it.

    >>> tier_name("landlock", {"COURSE_FLOWS_CONTAINER": "1"}), tier_name("landlock", {}), tier_name("none", {})
    ('container (landlock)', 'landlock', 'none')
    """
    return f"container ({tier})" if in_container(environment) and tier != "none" else tier


def binds_of(course: Course, submissions: Path, inside: str, report: Path) -> list[Bind]:
    """Return what a grading sees: the course's answers and book, the submissions, and the folder of the report."""
    parts = [Bind(course.root / part, f"/course/{part}") for part in COURSE_PARTS if (course.root / part).is_dir()]
    return [*parts, Bind(submissions.resolve(), inside), Bind(report.resolve(), "/report", writable=True)]


def container_command(
    engine: str, image: str, arguments: Sequence[str], binds: Sequence[Bind] = (), jobs: int = 1
) -> list[str]:
    """Return the command that runs ``course-flows`` with ``arguments`` in a container, for so many jobs at once."""
    memory = f"{1 + 4 * jobs}g"
    line = [engine, "run", "--rm", "--init", "--pull", "never", "--network", "none", "--read-only"]
    line += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", str(1024 * jobs)]
    line += ["--memory", memory, "--memory-swap", memory, "--cpus", str(jobs)]
    line += ["--tmpfs", f"/tmp:rw,nosuid,nodev,noexec,size={jobs}g,mode=1777", "--workdir", "/tmp"]
    if Path(engine).stem == "podman":
        line += ["--http-proxy=false"]
    line += _user(engine)
    for name, value in ENVIRONMENT.items():
        line += ["--env", f"{name}={value}"]
    for bind in binds:
        line += ["--mount", bind.option()]
    return [*line, "--entrypoint", "course-flows", image, *arguments]


def _user(engine: str) -> list[str]:
    """Let the report belong to who asked for it; elsewhere than on Linux the engine sees to that."""
    if not sys.platform.startswith("linux"):
        return []
    same = ["--user", f"{os.getuid()}:{os.getgid()}"]
    return ["--userns", "keep-id", *same] if Path(engine).stem == "podman" and os.getuid() != 0 else same


def run_container(command: Sequence[str]) -> int | None:
    """Run a container to its end and return the exit status of what ran inside, None where it did not start."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    before = signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    try:
        while True:
            try:
                status = process.wait()
                return None if status in NOT_STARTED else status
            except KeyboardInterrupt:
                continue  # the engine has it too and ends what runs inside
    finally:
        signal.signal(signal.SIGTERM, before)
