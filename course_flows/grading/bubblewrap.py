"""The command line that puts bubblewrap around the fork server: an own view of files, processes and network."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import course_flows
from course_flows.grading.confine import readable_paths
from course_flows.grading.limits import Limits

__all__ = ["bubblewrap_command"]


def bubblewrap_command(
    command: list[str], limits: Limits, writable: Path | None = None, die_with_parent: bool = False
) -> list[str]:
    """Return ``command`` with bubblewrap around it.

    It sees Python, its packages, the system's libraries, an empty ``/scratch`` and, at its own path, ``writable``.
    The fork server goes without ``die_with_parent``, which acts when the starting thread ends, not the process: it
    leaves when its control socket closes.
    """
    line = [shutil.which("bwrap") or "bwrap"]
    line += ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    line += ["--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--new-session"]
    if die_with_parent:
        line += ["--die-with-parent"]
    line += ["--dev", "/dev", "--proc", "/proc"]
    for path in _visible_paths():
        line += ["--ro-bind", str(path), str(path)]
    line += ["--size", str(limits.scratch_bytes * 4), "--tmpfs", "/scratch"]
    if writable is not None:
        line += ["--bind", str(writable), str(writable)]
    line += ["--chdir", "/scratch", "--setenv", "HOME", "/scratch", "--setenv", "TMPDIR", "/scratch", "--"]
    return line + command


def _visible_paths() -> list[Path]:
    """Return what is bound into the sandbox: what a worker may read, the interpreters and this package."""
    paths = [path for path in readable_paths() if path.parts[1] not in ("dev", "proc")]
    paths += [Path("/usr/bin"), Path("/bin"), Path(course_flows.__file__).parent]
    for prefix in (sys.prefix, sys.base_prefix):
        paths += [Path(prefix) / "bin", Path(prefix) / "pyvenv.cfg"]
    paths = sorted({path for path in paths if path.exists()}, key=lambda path: len(os.fspath(path)))
    chosen: list[Path] = []
    for path in paths:
        if not any(path.is_relative_to(above) for above in chosen):
            chosen.append(path)
    return chosen
