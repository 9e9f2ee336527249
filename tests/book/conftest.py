"""What the tests of the book share: its pages and the built site."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from booksite import HTML, ROOT, Visitor, pages_of_toc
from playwright.sync_api import Browser
from stand_ins import TOOLS

sys.path.insert(0, str(ROOT / "book" / "_ext"))

from fingerprint import book_key


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test that asks for `page` once for each page of the book."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", pages_of_toc(), scope="module")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A folder for PATH that holds only the few tools the setup scripts start with."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = next(Path(part, tool) for part in os.environ["PATH"].split(":") if Path(part, tool).exists())
        (folder / tool).symlink_to(found)
    return folder


@pytest.fixture(scope="session")
def html() -> Path:
    """The built site; a missing or outdated one is an error, since its tests would say nothing about the sources."""
    stamp = ROOT / "_build" / "book.key"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != book_key(ROOT):
        pytest.fail("the built book is missing or older than its sources: run `make book` first", pytrace=False)
    return HTML


@pytest.fixture(scope="module")
def visit(page: str, html: Path, browser: Browser) -> Iterator[Visitor]:
    """One page of the book opened from disk, its formulas set."""
    visitor = Visitor(browser, color_scheme="light")
    visitor.page.goto((html / f"{page}.html").as_uri())
    if visitor.page.locator(".math").count():
        visitor.page.wait_for_function("() => window.MathJax && MathJax.startup && MathJax.startup.promise")
        visitor.page.evaluate("() => MathJax.startup.promise.then(() => null)")
    yield visitor
    visitor.context.close()
