"""Text of a student's in Markdown: it reads as it was written, nothing of it acts, and little of it is escaped."""

from __future__ import annotations

import re

import pytest
from bs4 import BeautifulSoup
from classroom import made_up_report
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from course_flows.grading.report import markdown
from course_flows.grading.text import for_markdown, one_line

JOINER = "\u2060"
HOSTILE = [
    "[a](http://x.test)",
    "![i](http://x.test/i.png)",
    "[a][b]",
    "[a]: http://x.test",
    "[^1]: note [^1]",
    "[ ] task",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a<!-- b",
    "</li></ul><h1>x",
    "<http://x.test>",
    "&lt;b&gt; &#60; &copy &amp;amp;",
    "::error::x",
    "\n::set-output name=a::b",
    "##[error]x",
    "@everyone, @octo-cat and a@b.test",
    "fixes #12",
    "`code` ``x` ```",
    "a | b || c",
    "\\| \\\\| \\",
    "\\[a](b) \\<b>",
    "*a* **b** _c_ __init__ ~~d~~ ~e~",
    "a*b*c x_1 _y 2 * 3",
    "$x$ $$y$$",
    "- a",
    "+ a",
    "* * *",
    "---",
    "_ _ _",
    "# a #",
    "> a",
    "12. a",
    "1) a",
    "-",
    "1.",
    "~~~",
    "http://x.test https://x.test www.x.test WWW.x.test ftp://x.test mailto:a@b.test",
]
PLAIN = [
    "Task 1 · The density of an affine map (3 points)",
    "01_change_of_variables.ipynb",
    "The log-determinant is log|a|, not log a: it must be > 0!",
    "found shape (2, 3), not [4]; x < 3 and y >= 2, 3 * 4 = 12, a & b, -1.5 is less than 2.5.",
    "ValueError: it failed (line 3 of the cell affine-density).",
    "#",
]
ALPHABET = "ab1 *_`~[]()<>!#|\\&;:/.@$+-=^{}\"'é"


def seen(source: str) -> BeautifulSoup:
    """Render as GitHub does: tables, strikethrough, HTML, and addresses that become links by themselves."""
    renderer = MarkdownIt("gfm-like")
    assert renderer.linkify is not None
    renderer.linkify.set({"fuzzy_link": False, "fuzzy_email": True})  # GitHub links www.a.b, but not a.b
    return BeautifulSoup(renderer.render(source), "html.parser")


def shown(tag: BeautifulSoup) -> str:
    return tag.get_text().replace(JOINER, "").strip()


def assert_inert(text: str) -> None:
    """Require that a text is shown as it is, and that it makes no element, wherever a summary has it."""
    frames = {
        f"* {for_markdown(text)}\n* next": ["ul", "li", "li"],
        f"## {for_markdown(text)} (name)\n": ["h2"],
        f"Notebook: {for_markdown(text)}  \nand": ["p", "br"],
        f"| {for_markdown(text, in_table=True)} | 2 |\n|---|---|\n": ["table", "thead", "tr", "th", "th"],
    }
    for source, wanted in frames.items():
        page = seen(source)
        assert [tag.name for tag in page.find_all(True)] == wanted, (text, source)
        found = shown(page.find(["li", "h2", "p", "th"]))
        found = found.removesuffix("(name)").removeprefix("Notebook:").removesuffix("and").strip()
        assert found == text, (text, source)


@pytest.mark.parametrize("text", [*HOSTILE, *PLAIN])
def test_nothing_acts(text: str) -> None:
    text = one_line(text)
    assert_inert(text)
    escaped = for_markdown(text)
    assert "::" not in escaped
    assert "##[" not in escaped
    assert not re.search(r"<[a-zA-Z/!?]|://|(?i:www)\.|@\w|#\d|(?<!\\)\]\(", escaped)


@given(st.text(ALPHABET, max_size=24))
@example("_a")
@example("a_")
@example("*-")
def test_whatever_is_written_is_read(text: str) -> None:
    assert_inert(one_line(text))


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert for_markdown(f"x {text}") == f"x {text}"


def test_a_summary_is_readable_and_harmless() -> None:
    nasty = [one_line(text) for text in HOSTILE]
    title = "Task 1 · The density of an affine map (3 points)"
    link = {"title": "Change of variables", "url": "https://x.test/x.html#y"}
    text = markdown(made_up_report(0, exercise="01_change", title=title, feedback=nasty, links=[link]))
    assert text.startswith("# 01_change: 0 of 3 points\n")
    assert f"\n## {title} (only)\n" in text
    page = seen(text)
    assert {tag.name for tag in page.find_all(True)} == {"h1", "h2", "p", "br", "ul", "li", "a"}
    assert [tag["href"] for tag in page.find_all("a")] == ["https://x.test/x.html#y"]
    assert [shown(tag) for tag in page.find_all("li")] == [*nasty, "Read again: Change of variables"]
