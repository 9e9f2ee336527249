"""The environment variables of processes that hold a student's code."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["KERNEL_SETTINGS", "clean_environment"]

# What chooses among a library's kernels for one processor or another. It is passed on, so that the two sides of a
# grading compute alike and the tests can grade as another machine would.
KERNEL_SETTINGS = (
    "ATEN_CPU_CAPABILITY",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)


def clean_environment(home: Path) -> dict[str, str]:
    """Return the environment of a process that is to hold a student's code: of the caller's, only kernel settings."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        **{name: os.environ[name] for name in KERNEL_SETTINGS if name in os.environ},
    }
