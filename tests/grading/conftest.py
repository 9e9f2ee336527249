"""A tiny course and a pool of locked workers, shared by the tests of the grader."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from course_flows.grading.course import Course
from course_flows.grading.isolation import open_pool
from course_flows.grading.limits import Limits
from course_flows.grading.pool import PoolError, WorkerPool

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def mini() -> Course:
    """A course with one exercise of two tasks."""
    return Course(Path(__file__).parent / "mini")


@pytest.fixture(scope="session")
def quick() -> Limits:
    """Limits with which an endless loop ends soon."""
    return Limits(call_cpu_seconds=2.0, call_wall_seconds=15.0, worker_cpu_seconds=20, losses_per_task=1)


@pytest.fixture(scope="session", params=["namespaces", "landlock"])
def pool(request: pytest.FixtureRequest, quick: Limits) -> Iterator[WorkerPool]:
    """A pool in each tier of isolation."""
    try:
        started = WorkerPool(request.param, quick)
        started.spawn().end()
    except PoolError as error:
        pytest.skip(f"the tier {request.param} cannot be had on this machine: {error}")
    with started:
        yield started


@pytest.fixture(scope="session")
def best_pool(quick: Limits) -> Iterator[WorkerPool]:
    """A pool in the strongest tier of this machine."""
    with open_pool(quick) as started:
        yield started
