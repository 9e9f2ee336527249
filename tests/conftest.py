"""What all tests share: one browser for a test process, how tests are dealt to processes, and a line of progress."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from xdist.scheduler import LoadScopeScheduling

sys.path.insert(0, str(Path(__file__).parent))

import progress

DEALT_ONE_BY_ONE = {f"tests/grading/test_{name}.py" for name in ("bank", "batch", "margins", "mutants", "seeds")}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the line of progress."""
    group = parser.getgroup("course flows")
    group.addoption("--progress", action="store_true", help="say how far the run is and how long it will take")
    group.addoption("--write-durations", action="store_true", help="write how long tests take to tests/durations.json")


def pytest_configure(config: pytest.Config) -> None:
    """Start what the options ask for."""
    progress.register(config)


def scope_of(nodeid: str) -> str:
    """Return what is dealt to one process: a file, for the sake of its fixtures and kernels, or a test by itself."""
    file = progress.file_of(nodeid)
    return nodeid if file in DEALT_ONE_BY_ONE else file


class Scheduling(LoadScopeScheduling):
    """Deals scopes to processes in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Take the place of loadfile."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, so that no process is left alone with it at the end."""
    seconds = progress.load_durations()
    work: dict[str, float] = defaultdict(float)
    for item in items:
        work[scope_of(item.nodeid)] += seconds.get(progress.file_of(item.nodeid), progress.UNKNOWN_SECONDS)
    items.sort(key=lambda item: (-work[scope_of(item.nodeid)], progress.file_of(item.nodeid)))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium that does nothing by itself."""
    path = os.environ.get("COURSE_FLOWS_CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail("no Chromium found: run `make system`, or set COURSE_FLOWS_CHROMIUM to its path", pytrace=False)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, headless=True, args=BROWSER_FLAGS)
        yield started
        started.close()
