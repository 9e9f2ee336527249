"""Each page in a browser without a network: nothing is fetched, nothing fails, formulas are set, all can read it."""

from __future__ import annotations

from importlib.resources import files

import pytest

# Rules that docutils breaks on one page and that this book cannot mend, each with its reason.
ACCEPTED = {
    "book/bibliography": {
        "aria-required-children": "docutils writes the citations as a list with other children",
        "aria-deprecated-role": "docutils gives citations the roles doc-biblioentry and doc-backlink",
        "aria-allowed-role": "docutils puts those roles on elements that may not carry them",
    }
}
UNTYPESET = """() => [...document.querySelectorAll(".math")]
    .filter(node => !node.querySelector("mjx-container") || node.querySelector("mjx-merror, [data-mjx-error]")
        || [...node.querySelectorAll("mjx-mtext")].some(text => getComputedStyle(text).color === "rgb(255, 0, 0)"))
    .map(node => node.textContent.slice(0, 80))"""

BROKEN = """() => [...document.images].filter(image => image.src && !image.naturalWidth)
    .map(image => image.src.slice(0, 120))"""


def test_page_needs_no_network(visit):
    assert visit.refused == []


def test_page_logs_no_errors(visit):
    assert visit.complaints == []


def test_every_formula_is_typeset(visit):
    assert visit.page.evaluate(UNTYPESET) == []
    article = visit.page.locator("article").inner_text()
    assert r"\(" not in article
    assert r"\[" not in article


def test_images_are_loaded(visit):
    visit.page.evaluate("() => Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")
    assert visit.page.evaluate(BROKEN) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_content_is_accessible(visit, page, theme):
    tab = visit.page
    if not tab.evaluate("() => Boolean(window.axe)"):
        tab.add_script_tag(content=files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    tab.wait_for_timeout(400)  # the theme fades its colors
    result = tab.evaluate("() => axe.run('article', {resultTypes: ['violations']})")
    # A header that is only a formula is read aloud from its MathML, which axe does not count as text: it passes.
    found = [
        f"{violation['id']} ({violation['impact']}): {node['html'][:200]} {node['failureSummary'][:300]}"
        for violation in result["violations"]
        if violation["id"] not in ACCEPTED.get(page, {})
        for node in violation["nodes"]
        if not (violation["id"] == "empty-table-header" and tab.locator(node["target"][0]).locator("math").count())
    ]
    assert not found, "\n".join(found)
