"""The forms of a report: schema, HTML, JUnit XML, Gradescope, Markdown; hints, links, and nothing that can bite."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from bs4 import BeautifulSoup
from classroom import NASTY, WRONG_SHIFT, hand_in, made_up_report, raising
from playwright.sync_api import Browser, Page

from course_flows.grading import class_commands
from course_flows.grading.course import Course, CourseError
from course_flows.grading.exchange import gradescope, junit
from course_flows.grading.grade import grade_file
from course_flows.grading.hidden import HiddenResult
from course_flows.grading.links import book_labels, resolve
from course_flows.grading.mistakes import (
    Mistake,
    load_mistakes,
    merge_signatures,
    recognize,
    signatures_path,
    stale_signatures,
)
from course_flows.grading.notebooks import dump
from course_flows.grading.overview import overview_page
from course_flows.grading.page import student_page
from course_flows.grading.plugin import Result
from course_flows.grading.pool import WorkerPool
from course_flows.grading.report import markdown, report_files, write_report
from course_flows.grading.schema import REPORT_SCHEMA
from course_flows.grading.suite import Property
from course_flows.grading.text import one_line

ROOT = Path(__file__).parents[2]
REAL = Course(ROOT)
NO_ABS = "def scale_log_density(x, a):\n    return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(a)"


def report_of(mini: Course, pool: WorkerPool, folder: Path, answers: dict[str, str], **options: Any) -> dict[str, Any]:
    path = hand_in(mini, folder / "nb.ipynb", answers)
    return grade_file(path, mini, pool, visible=False, **options).report


def is_valid(report: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(REPORT_SCHEMA).is_valid(report)


def test_the_schema_itself_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(REPORT_SCHEMA)


def test_reports_follow_the_schema(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    for answers in ({}, {"scale-density": NO_ABS}, {"shift-module": "import os; os._exit(3)"}):
        assert is_valid(report_of(mini, best_pool, tmp_path, answers))
    full = grade_file(hand_in(mini, tmp_path / "nb.ipynb", {"scale-density": raising(NASTY)}), mini, best_pool).report
    assert is_valid(full)
    assert full["tasks"][0]["visible"] == "failed"


def test_the_schema_refuses_what_is_no_report() -> None:
    report = made_up_report()
    assert is_valid(report)
    assert not is_valid(report | {"more": 1})
    assert not is_valid({name: report[name] for name in report if name != "seed"})
    assert not is_valid(made_up_report(status="great"))
    assert not is_valid(made_up_report(feedback=["two\nlines"]))
    assert not is_valid(made_up_report(points=-1))


@pytest.mark.parametrize("seed", [0, 5])
def test_an_answer_like_a_known_mistake_gets_its_hint(
    seed: int, mini: Course, best_pool: WorkerPool, tmp_path: Path
) -> None:
    report = report_of(mini, best_pool, tmp_path, {"shift-module": WRONG_SHIFT}, seed=seed)
    first, second = report["tasks"]
    hint = "Only parameters are trained: how does a module know which tensors are parameters?"
    assert second["mistakes"] == [{"name": "plain_tensor", "hint": hint}]
    assert second["feedback"][0] == f"This looks like a known mistake: {hint}"
    assert len(second["feedback"]) == 3
    assert first["mistakes"] == first["feedback"] == first["links"] == []


def test_other_wrong_answers_get_no_hint(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    untouched = tmp_path / "00_mini.ipynb"
    untouched.write_text(dump(mini.release("00_mini")), encoding="utf-8")
    reports = [grade_file(untouched, mini, best_pool, visible=False).report]
    for answer in ("def scale_log_density(x, a):\n    return 0 * x", "1 / 0", "import os; os._exit(0)"):
        reports.append(report_of(mini, best_pool, tmp_path, {"scale-density": answer}))
    for report in reports:
        assert report["tasks"][0]["points"] == 0
        assert report["tasks"][0]["feedback"]
        assert report["tasks"][0]["mistakes"] == []


def test_a_failed_property_leads_into_the_book(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    path = "book/00_mini.html#ch-mini"
    for url, wanted in (("", path), ("https://x.test/b", f"https://x.test/b/{path}")):
        report = report_of(mini, best_pool, tmp_path, {"scale-density": NO_ABS}, book_url=url)
        assert report["tasks"][0]["links"] == [{"title": "Densities in short", "url": wanted}]
        page = BeautifulSoup(student_page(report), "html.parser")
        # without an address the book is somewhere else than the report: its section is named, and no link is dead
        assert [a["href"] for a in page.find_all("a") if not a["href"].startswith("#")] == [wanted] * bool(url)
        place = f"[Densities in short](<{wanted}>)" if url else "Densities in short, in the book"
        assert f"Read again: {place}\n" in markdown(report)
        assert page.find(string=re.compile("Read again: " + ("$" if url else "Densities in short, in the book")))
        assert f"Read again: Densities in short ({wanted})" in gradescope(report)["tests"][0]["output"]


def test_every_link_of_the_hidden_suites_leads_somewhere() -> None:
    labels = set()
    for exercise in REAL.exercise_names():
        text = REAL.suite(exercise).read_text(encoding="utf-8")
        labels |= set(re.findall(r'"((?:ch|sec)-[\w-]+)"', text))
    assert labels
    assert labels <= set(book_labels(REAL.book))
    assert resolve(REAL.book, "no-such-label") is None


@pytest.mark.parametrize("course", [REAL, Course(Path(__file__).parent / "mini")], ids=["course", "mini"])
def test_stored_signatures_name_the_bank_and_the_suite(course: Course) -> None:
    for exercise in course.exercise_names():
        bank = {path.parent.name + "/" + path.stem[6:] for path in (course.answers / exercise).glob("*/wrong_*.py")}
        mistakes = load_mistakes(course, exercise)
        assert {f"{mistake.task}/{mistake.name}" for mistake in mistakes} == bank
        suite = course.suite(exercise).read_text(encoding="utf-8")
        for mistake in mistakes:
            assert mistake.fails
            assert {m for manners in mistake.fails.values() for m in manners} <= {"wrong", "refused", "raised", "lost"}
            assert all(f"def {name.split('[')[0]}(" in suite for name in mistake.fails)


def test_signatures_of_one_exercise_are_computed_and_another_name_is_refused(capsys: pytest.CaptureFixture) -> None:
    mini = Path(__file__).parent / "mini"
    assert class_commands.signatures(mini, ["00_mini"], check_only=True) == 0
    assert class_commands.signatures(mini, ["00_mini", "01_nothing"], check_only=True) == 1
    assert "expected exercises of 00_mini, found 01_nothing." in capsys.readouterr().err


def test_damaged_signatures_are_the_courses_fault(mini: Course, tmp_path: Path) -> None:
    course = Course(tmp_path)
    assert load_mistakes(course, "00_mini") == []
    path = signatures_path(course, "00_mini")
    path.parent.mkdir(parents=True)
    for text in ("", "[]", '{"tasks": {"a": {"b": {}}}}'):
        path.write_text(text)
        with pytest.raises(CourseError, match="course-flows signatures"):
            load_mistakes(course, "00_mini")


def test_mistakes_with_one_signature(mini: Course, best_pool: WorkerPool) -> None:
    from course_flows.grading.hidden import grade_source

    outcome = grade_source(mini, "00_mini", {"shift-module": WRONG_SHIFT}, best_pool)
    known = [mistake for mistake in load_mistakes(mini, "00_mini") if mistake.task == "shift-module"]
    (one,) = known
    other = type(one)(one.task, "other", "", "", one.fails, dict.fromkeys(one.found, "something else"))
    third = type(one)(one.task, "third", "", "", one.fails, dict.fromkeys(one.found, "another thing"))
    assert recognize([one, other, third], outcome) == {"shift-module": [one]}
    assert recognize([other, third], outcome) == {"shift-module": [other, third]}
    assert recognize([other, third, type(one)(one.task, "4", "", "", one.fails, other.found)], outcome) == {}
    assert recognize([type(one)(one.task, "less", "", "", {}, {})], outcome) == {}


def mistake(name: str, words: str, manners: str = "wrong") -> Mistake:
    return Mistake("task", name, "", "", {"test": frozenset(manners.split("|"))}, {"test": words})


def outcome_of(words: str, manner: str = "wrong") -> HiddenResult:
    failed = Result("test", Property("task", "It holds.", ""), failed=True, manner=manner, found=words)
    passed = Result("other", Property("task", "It holds.", ""), passed=True)
    return HiddenResult(results={"task": [failed, passed]})


def test_mistakes_are_told_apart_by_numbers_that_hang_on_rounding() -> None:
    near = mistake("near", "it is off by 5.9e-08, allowed is 0")
    far = mistake("far", "it is off by 2e-07, allowed is 0")
    for error in ("6.6e-08", "5.9e-08", "4.1e-08"):
        assert recognize([near, far], outcome_of(f"it is off by {error}, allowed is 0")) == {"task": [near]}
    assert recognize([near, far], outcome_of("it is off by 0.2, allowed is 0")) == {"task": [near, far]}
    same = mistake("same", near.found["test"])
    assert recognize([near, same, far], outcome_of("it is off by 6e-08, allowed is 0")) == {"task": [near, same]}


def test_a_mistake_may_fail_in_several_manners() -> None:
    both = mistake("both", "it is off by 3", "raised|wrong")
    assert recognize([both], outcome_of("it is off by 3")) == {"task": [both]}
    assert recognize([both], outcome_of("your code stopped: singular", "raised")) == {"task": [both]}
    assert recognize([both], outcome_of("refused", "refused")) == {}


def test_signatures_keep_what_other_machines_saw() -> None:
    both, here = mistake("m", "it is off by 3.1", "raised|wrong"), mistake("m", "it is off by 3.2", "wrong")
    assert stale_signatures([both], [here]) == []
    assert merge_signatures([both], [here]) == [both]
    other = mistake("m", "your code stopped", "raised")
    assert stale_signatures([here], [other]) == ["task/m"]
    assert merge_signatures([here], [other]) == [other]
    assert merge_signatures([here], [other], add=True)[0].fails == both.fails
    assert stale_signatures([here], []) == stale_signatures([], [here]) == ["task/m"]


def test_nothing_of_a_students_acts_anywhere(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    path = hand_in(mini, tmp_path / "<img src=x onerror=alert(1)>\x1b[2J::warning::.ipynb", {})
    hand_in(
        mini, path, {"scale-density": raising(NASTY), "shift-module": f"raise type({NASTY[:40]!r}, (Exception,), {{}})"}
    )
    report = grade_file(path, mini, best_pool).report
    texts = report_files(report)
    for name, text in texts.items():
        assert "\x1b" not in text, name
        assert "::" not in text, name
        assert "##[" not in text, name
        if name not in ("results.json", "report.json"):
            assert "<script>" not in text, name
            assert "<img" not in text, name
    assert "alert(1)" in texts["report.html"]
    page = BeautifulSoup(texts["report.html"], "html.parser")
    assert not page.find_all(["script", "img", "iframe", "object", "form"])
    assert not [tag for tag in page.find_all(True) if any(name.startswith("on") for name in tag.attrs)]
    assert len(ET.fromstring(texts["junit.xml"]).findall(".//failure")) == 2
    outside = re.sub(r"Read again: .*", "", texts["report.md"])
    assert not re.search(r"(?<!\\)(\]\(|`)|<[a-z]|https?://", outside)
    for sentence in report["tasks"][0]["feedback"]:
        assert len(sentence) < 800


def test_no_hidden_input_or_traceback_appears(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    report = report_of(mini, best_pool, tmp_path, {"scale-density": NO_ABS, "shift-module": WRONG_SHIFT})
    for text in report_files(report).values():
        for secret in ("test_density", "test_module", "-2.5", "Traceback", "hidden/", str(ROOT), "seed=", "rng"):
            assert secret not in text


def test_texts_are_broken_up_where_ci_would_listen() -> None:
    for text in ("::error::x", ":::add-mask::x", "##[error]x", "###[x", "a\r\n::b"):
        shown = one_line(text)
        assert "::" not in shown
        assert "##" not in shown


def test_junit_counts(mini: Course) -> None:
    reports = [made_up_report(3), made_up_report(0, feedback=["a & b <c>"])]
    root = ET.fromstring(junit(reports, ["a", "b"]))
    assert [(s.get("name"), s.get("tests"), s.get("failures")) for s in root] == [("a", "1", "0"), ("b", "1", "1")]
    assert root.find(".//failure").text == "a & b <c>"


def test_gradescope_has_its_fields() -> None:
    result = gradescope(made_up_report(0, feedback=["no"], links=[{"title": "T", "url": "u"}]))
    assert result["score"] == sum(test["score"] for test in result["tests"]) == 0
    (test,) = result["tests"]
    wanted = {"name": "The only task", "max_score": 3, "status": "failed", "output": "no\nRead again: T (u)"}
    assert wanted.items() <= test.items()
    assert result["stdout_visibility"] == "hidden"
    assert {test["output_format"], test["name_format"], result["output_format"]} == {"text"}
    json.dumps(result)


def test_unsafe_reports_say_so_in_every_form() -> None:
    for name, text in report_files(made_up_report() | {"isolation": "none"}).items():
        assert "nobody should believe" in text or name in ("report.json", "junit.xml")
        assert "none" in text or "nobody" in text


def test_a_report_is_written_as_a_whole(tmp_path: Path) -> None:
    write_report(made_up_report(), tmp_path / "r")
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert names == {"report.json", "report.md", "report.html", "junit.xml", "results.json"}


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """A page that reaches nothing."""
    context = browser.new_context(bypass_csp=True, offline=True)
    yield context.new_page()
    context.close()


def pages() -> dict[str, str]:
    """Return one page of each kind, with every part of it in use."""
    mistake = {"name": "sign", "hint": "Which sign?"}
    failed = made_up_report(
        0,
        mistakes=[mistake],
        feedback=["This looks like a known mistake: Which sign?", "It fails."],
        links=[{"title": "Chapter", "url": "book/x.html#y"}],
    )
    figures = {"exercise": "00_mini", "students": 2, "points": [0, 3], "max_points": 3, "mean": 1.5, "median": 1.5}
    figures |= {"tasks": [{"id": "only", "title": "The only task", "passed": 1, "missing": 0}]}
    figures |= {"mistakes": [{"task": "only", **mistake, "students": 1}]}
    entry = {"key": "a-1", "student": "<a>", "file": "a.ipynb", "exercise": "00_mini", "late": True, "problem": "p"}
    entry |= {"isolation": "none", "status": "graded", "points": 3, "max_points": 3, "faults": ["f"]}
    batch = {"deadline": "2026-03-01T10:00:00+00:00", "submissions": [entry], "ignored": ["x.txt"]}
    unsafe = failed | {"isolation": "none"}
    return {
        "student": student_page(failed),
        "unsafe": student_page(unsafe),
        "class": overview_page(batch, [entry], [entry], [figures]),
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["student", "unsafe", "class"])
def test_pages_are_accessible_and_alone(kind: str, theme: str, tab: Page) -> None:
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.emulate_media(color_scheme=theme)
    tab.set_content(pages()[kind])
    ground = tab.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (theme == "light")
    tab.add_script_tag(content=files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    result = tab.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in result["violations"]] == []
    assert requests == []
    tab.set_viewport_size({"width": 360, "height": 700})
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 360
    tab.set_viewport_size({"width": 1200, "height": 900})
