"""What all tests share: one browser for a test process, how tests are dealt to processes, and a line of progress."""

from __future__ import annotations

import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

import progress

GROUP = pytest.StashKey[str]()
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal the tests of a file to one process, for the sake of its fixtures and kernels, but those marked spread.

    What takes longest comes first, so that no process is left alone with it at the end.
    """
    seconds = progress.load_durations()
    work: dict[str, float] = defaultdict(float)
    for item in items:
        group = file = progress.file_of(item.nodeid)
        if item.get_closest_marker("spread") is None:
            item.add_marker(pytest.mark.xdist_group(file))
        else:
            group = item.nodeid
        item.stash[GROUP] = group
        work[group] += seconds.get(file, progress.UNKNOWN_SECONDS)
    items.sort(key=lambda item: (-work[item.stash[GROUP]], progress.file_of(item.nodeid)))


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
