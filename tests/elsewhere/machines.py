"""Other machines on this one: the settings with which the numerical libraries choose kernels as they would elsewhere.

A sum comes out differently in its last digits where registers are wider, a fused multiply-add is there, or two threads
share it. These settings show it without another processor. What they cannot show is another library: ARM and macOS
multiply by other ones, and are left to the workflow in `.github`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any

__all__ = ["MACHINES", "Machine", "kernels_under"]

X86 = ("x86_64", "AMD64")
PROBE = """
import json, torch
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(json.dumps({
    "torch": torch.backends.cpu.get_cpu_capability(),
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__.get(name)],
    "threads": torch.get_num_threads(),
}))
"""


@dataclass(frozen=True)
class Machine:
    """One way to compute: its name, in words what it stands for, and what it sets."""

    name: str
    stands_for: str
    settings: dict[str, str] = field(default_factory=dict)
    needs_x86: bool = False

    def environment(self) -> dict[str, str]:
        """Return this process's environment with the settings of the machine.

        numpy refuses to leave out what the processor does not have, so it is asked first.
        """
        chosen = {"OMP_NUM_THREADS": "1"} | self.settings
        if "NPY_DISABLE_CPU_FEATURES" in chosen:
            chosen["NPY_DISABLE_CPU_FEATURES"] = " ".join(_features_of_numpy())
        return os.environ | chosen

    def missing(self) -> str:
        """Say why this machine cannot be played here; nothing where it can."""
        if self.needs_x86 and platform.machine() not in X86:
            return f"its settings are for x86-64 processors, this is {platform.machine()}"
        return ""


@cache
def _features_of_numpy() -> list[str]:
    return kernels_under({})["numpy"]


def kernels_under(settings: dict[str, str]) -> dict[str, Any]:
    """Return which kernels torch and numpy choose, and how many threads, in a fresh process with these settings."""
    command = [sys.executable, "-c", PROBE]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


MACHINES = [
    Machine("native", "this processor as it is"),
    Machine(
        "sse",
        "an x86-64 processor before 2011",
        {
            "ATEN_CPU_CAPABILITY": "default",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "OPENBLAS_CORETYPE": "Nehalem",
        },
        needs_x86=True,
    ),
    Machine(
        "avx2",
        "most x86-64 processors of laptops",
        {
            "ATEN_CPU_CAPABILITY": "avx2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "OPENBLAS_CORETYPE": "Haswell",
        },
        needs_x86=True,
    ),
    Machine(
        "reproducible",
        "MKL as on a processor that is not Intel's: the same code path everywhere",
        {"MKL_CBWR": "COMPATIBLE"},
        needs_x86=True,
    ),
    Machine("two-threads", "sums that two threads share", {"OMP_NUM_THREADS": "2"}),
    Machine("plain-numpy", "numpy without the processor's features", {"NPY_DISABLE_CPU_FEATURES": "all"}),
]
