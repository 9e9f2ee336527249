"""The files of the built site: pages, links, pictures, checks of equations, and nothing that belongs to instructors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from booksite import pages_of_toc
from bs4 import BeautifulSoup

GENERATED = {"index", "genindex", "search", "prf-prf"}


@pytest.fixture(scope="session")
def soups(html: Path) -> dict[Path, BeautifulSoup]:
    """Every HTML page of the site, parsed."""
    return {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in site_pages(html)}


@pytest.fixture
def article(soups, html, page):
    """The content of one page."""
    return soups[html / f"{page}.html"].find("article")


def site_pages(html: Path) -> list[Path]:
    return sorted(path for path in html.rglob("*.html") if "_static" not in path.relative_to(html).parts)


def test_the_site_has_the_pages_of_the_toc_and_no_others(html):
    built = {path.relative_to(html).with_suffix("").as_posix() for path in site_pages(html)}
    assert set(pages_of_toc()) - built == set()
    assert built - set(pages_of_toc()) - GENERATED == set()


def test_page_has_a_title_and_text(article):
    assert article.find("h1") is not None
    assert len(article.get_text()) > 200


def test_page_shows_no_error_output(article):
    bad = article.select(".traceback, .stderr, .system-message, .problematic")
    assert [node.get_text()[:200] for node in bad] == []


def test_images_have_alt_text_and_captions(article):
    problems = []
    for image in article.find_all("img"):
        alt = image.get("alt", "").strip()
        if len(alt) < 15 or re.search(r"\.(png|svg|jpe?g)$|_images/", alt):
            problems.append(f"alt text {alt!r} does not say what is drawn")
        figure = image.find_parent("figure")
        caption = figure and figure.find("figcaption")
        if not caption or not caption.get_text().strip():
            problems.append(f"no caption under the picture {alt[:60]!r}")
    assert problems == []


def test_internal_links_and_anchors_resolve(soups, html):
    targets = {path: {node["id"] for node in soup.select("[id]")} for path, soup in soups.items()}
    problems, seen = [], 0
    for path, soup in soups.items():
        for node in soup.select("a[href], link[href], img[src], script[src]"):
            link = urlsplit(node.get("href") or node.get("src"))
            if link.scheme or link.netloc or not (link.path or link.fragment):
                continue
            seen += 1
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            if not target.exists():
                problems.append(f"{path.relative_to(html)}: no file {link.path}")
            elif link.fragment and target in targets and unquote(link.fragment) not in targets[target]:
                problems.append(f"{path.relative_to(html)}: no anchor {link.path}#{link.fragment}")
    assert sorted(set(problems)) == []
    assert seen > 20 * len(soups)


def test_every_identity_is_in_the_table_of_checks(soups, html):
    labels = {
        node["id"].removeprefix("equation-") for soup in soups.values() for node in soup.select('[id^="equation-eq-"]')
    }
    rows = [
        [cell.get_text().strip() for cell in row.find_all("td")]
        for row in soups[html / "book/equation_checks.html"].select("table.equation-checks tbody tr")
    ]
    assert labels, "no page states an identity"
    assert labels - {row[1] for row in rows} == set()
    for equation, label, error, tolerance, verdict in rows:
        assert re.fullmatch(r"\([\d.]+\)", equation), label
        assert float(error) <= float(tolerance), label
        assert verdict == "holds", label


def test_site_holds_nothing_of_instructors(html, root):
    secrets = ["### BEGIN SOLUTION", "### BEGIN HIDDEN TESTS", *solution_texts(root)]
    leaks, seen = [], 0
    for path in html.rglob("*"):
        if path.suffix not in READERS or "_static" in path.relative_to(html).parts:
            continue
        seen += 1
        text = " ".join(READERS[path.suffix](path.read_text(encoding="utf-8")).split())
        leaks += [f"{path.relative_to(html)}: {secret[:80]}" for secret in secrets if secret in text]
    assert leaks == []
    assert seen > len(pages_of_toc())


def notebook_text(content: str) -> str:
    """Return the sources of all cells of a notebook."""
    return "\n".join("".join(cell["source"]) for cell in json.loads(content)["cells"])


READERS = {
    ".html": lambda content: BeautifulSoup(content, "html.parser").get_text(),
    ".ipynb": notebook_text,
    ".md": str,
    ".txt": str,
    ".js": str,
}


def solution_texts(root: Path) -> list[str]:
    """Return every solution of at least three lines, with white space normalized."""
    sources = [notebook_text(path.read_text(encoding="utf-8")) for path in sorted((root / "solutions").glob("*.ipynb"))]
    blocks = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", "\n".join(sources), re.DOTALL)
    return [" ".join(block.split()) for block in blocks if block.count("\n") >= 3]
