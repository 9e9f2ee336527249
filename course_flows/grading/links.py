"""Where in the book a label leads: the title of its section and the address of its page."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

from course_flows.grading.notebooks import source_of

__all__ = ["Link", "book_labels", "resolve"]

LABEL = re.compile(r"^\((?P<label>[\w-]+)\)=\s*\n+#{1,6}[ \t]+(?P<title>.+?)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Link:
    """A place in the book."""

    title: str
    url: str


def resolve(book: Path, label: str, book_url: str = "") -> Link | None:
    """Return where a label leads, None where the book's sources are not at hand or do not have it.

    The address is that of the built page, ``book/PAGE.html#LABEL``, after ``book_url`` where that is given.
    """
    found = book_labels(book).get(label)
    if found is None:
        return None
    title, page = found
    base = book_url if not book_url or book_url.endswith("/") else book_url + "/"
    return Link(title, f"{base}{page}#{label}")


@functools.cache
def book_labels(book: Path) -> dict[str, tuple[str, str]]:
    """Return for every labeled heading in the sources of a book its title and its page, relative to the built site."""
    labels = {}
    for path in sorted([*book.glob("*.ipynb"), *book.glob("*.md")]):
        for match in LABEL.finditer(_prose(path)):
            title = re.sub(r"[`*_]", "", match["title"])
            labels[match["label"]] = (title, f"{book.name}/{path.stem}.html")
    return labels


def _prose(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join(source_of(cell) for cell in cells if cell["cell_type"] == "markdown")
