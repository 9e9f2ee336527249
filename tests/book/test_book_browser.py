"""Each page in a browser without a network: nothing is fetched, nothing fails, formulas are set, everybody can read it."""

from __future__ import annotations

from importlib.resources import files

import pytest

# Rules that the theme or docutils break and that this book cannot mend, each with its reason.
ACCEPTED = {
    "aria-required-children": "docutils writes the citation list as role=list with other children",
    "aria-deprecated-role": "docutils gives citations the roles doc-biblioentry and doc-backlink",
    "aria-allowed-role": "docutils puts those roles on elements that may not carry them",
    "label-content-name-mismatch": "myst-nb labels the summary of a hidden input cell differently from its text",
}
UNTYPESET = """() => [...document.querySelectorAll(".math")]
    .filter(node => !node.querySelector("mjx-container") || node.querySelector("mjx-merror, [data-mjx-error]")
        || [...node.querySelectorAll("mjx-mtext")].some(text => getComputedStyle(text).color === "rgb(255, 0, 0)"))
    .map(node => node.textContent.slice(0, 80))"""


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
    broken = "() => [...document.images].filter(i => i.src && i.complete && !i.naturalWidth).map(i => i.src.slice(0, 120))"
    visit.page.evaluate("() => document.images.length && Promise.all([...document.images].map(i => i.decode().catch(() => 0)))")
    assert visit.page.evaluate(broken) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_content_is_accessible(visit, theme):
    page = visit.page
    if not page.evaluate("() => Boolean(window.axe)"):
        page.add_script_tag(content=files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    page.wait_for_timeout(400)  # the theme fades its colors
    result = page.evaluate("() => axe.run('article', {resultTypes: ['violations']})")
    found = [
        f"{violation['id']} ({violation['impact']}): {violation['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for violation in result["violations"]
        if violation["id"] not in ACCEPTED
        for node in violation["nodes"]
    ]
    assert not found, "\n".join(found)
