"""The environment variables of processes that hold a student's code."""

from __future__ import annotations

from pathlib import Path

__all__ = ["clean_environment"]


def clean_environment(home: Path) -> dict[str, str]:
    """Return the environment of a process that is to hold a student's code: nothing of the caller's."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
