"""Which isolation this machine offers: found by starting the real thing, strongest first."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from course_flows.grading.limits import Limits
from course_flows.grading.pool import PoolError, WorkerPool

__all__ = ["TIERS", "IsolationError", "Probe", "open_pool", "probe"]

TIERS = {
    "namespaces": "bubblewrap around Landlock, seccomp and resource limits",
    "landlock": "Landlock, seccomp and resource limits",
    "container": "Docker or Podman around one of these: course-flows grade --container IMAGE",
    "none": "no isolation",
}
UNSAFE_BANNER = (
    "!!! NO ISOLATION: the notebook's code runs with all your rights on this machine, can read and change your files "
    "and the grader's result. Grade only code that you wrote yourself. !!!"
)


class IsolationError(Exception):
    """Student code cannot be isolated here; the text says what is missing and what to do."""


@dataclass(frozen=True)
class Probe:
    """What one tier answered when it was started: its layers, or why it cannot be had."""

    tier: str
    works: bool
    detail: str


def open_pool(
    limits: Limits | None = None,
    *,
    unsafe: bool = False,
    tiers: Sequence[str] = ("namespaces", "landlock"),
    environment: Mapping[str, str] = os.environ,
) -> WorkerPool:
    """Return a started pool in the strongest tier that works here.

    Where none works it raises IsolationError, unless ``unsafe``; and ``unsafe`` is refused where ``CI=true``.
    """
    failures = []
    for tier in tiers:
        pool, tried = _try(tier, limits)
        if pool is not None:
            return pool
        failures.append(f"{tier}: {tried.detail}")
    reasons = "; ".join(failures) or "no tier was allowed"
    if not unsafe:
        raise IsolationError(
            f"Student code cannot be isolated on this machine, so nothing was run ({reasons}). {_remedy()}"
        )
    if environment.get("CI", "").lower() in ("true", "1"):
        raise IsolationError(f"Grading without isolation is refused where CI=true ({reasons}). {_remedy()}")
    return WorkerPool("none", limits)


def probe(limits: Limits | None = None) -> list[Probe]:
    """Start every tier once and say what came of it."""
    found = []
    for tier in ("namespaces", "landlock"):
        pool, tried = _try(tier, limits)
        if pool is not None:
            pool.close()
        found.append(tried)
    return found


def _try(tier: str, limits: Limits | None) -> tuple[WorkerPool | None, Probe]:
    if not sys.platform.startswith("linux"):
        return None, Probe(tier, False, f"it exists on Linux only, this is {sys.platform}")
    if tier == "namespaces" and shutil.which("bwrap") is None:
        return None, Probe(tier, False, "bubblewrap is missing (Debian or Ubuntu: sudo apt-get install bubblewrap)")
    try:
        pool = WorkerPool(tier, limits)
    except PoolError as error:
        return None, Probe(tier, False, str(error))
    try:
        worker = pool.spawn()
        layers = ", ".join(worker.layers)
        worker.end()
    except PoolError as error:
        pool.close()
        return None, Probe(tier, False, str(error))
    return pool, Probe(tier, True, layers)


def _remedy() -> str:
    if not sys.platform.startswith("linux"):
        return "Grade inside a Linux container, with --container IMAGE (Docker or Podman)."
    return (
        "It needs Linux 5.13 or later with Landlock, and libseccomp (Debian or Ubuntu: sudo apt-get install "
        "libseccomp2). To grade code that you wrote yourself, add --unsafe."
    )
