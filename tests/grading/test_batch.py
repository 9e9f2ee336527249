"""Grading a class: resumed after a kill, in parts, with bad submissions in it; which ones count; the class files."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from classroom import WRONG_SHIFT, command, contents, hand_in, made_up_report, raising, run

from course_flows.grading.classbook import merge, write_class
from course_flows.grading.course import Course
from course_flows.grading.figures import histogram, statistics
from course_flows.grading.mistakes import signatures_path
from course_flows.grading.records import GRADED, UNREADABLE, grader_version, is_done, load_record, store
from course_flows.grading.report import json_text
from course_flows.grading.submissions import BatchError, Submitted, find_submissions, is_late, parse_time, shard_of

NASTY_NAME = "=cmd|' ::add-mask::\x1b[31m<b>"
DEADLINE = "2026-03-01T12:00+01:00"


@pytest.fixture(scope="module")
def handed_in(mini: Course, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every kind of submission, and a list of when they came."""
    folder = tmp_path_factory.mktemp("class") / "submissions"
    hand_in(mini, folder / "alice.ipynb")
    hand_in(mini, folder / "bob" / "first.ipynb", {"shift-module": WRONG_SHIFT})
    hand_in(mini, folder / "bob" / "second.ipynb")
    hand_in(mini, folder / "bob" / "third.ipynb", {"scale-density": raising("late")})
    hand_in(mini, folder / "exits.ipynb", {"scale-density": "import os; os._exit(0)"})
    hand_in(mini, folder / f"{NASTY_NAME}.ipynb", {"scale-density": raising("\x1b[2J::error::")})
    (folder / "garbage.ipynb").write_bytes(os.urandom(500))
    (folder / "link.ipynb").symlink_to(folder / "alice.ipynb")
    (folder / "notes.txt").write_text("not a submission")
    (folder / ".hidden.ipynb").write_text("not a submission")
    rows = [
        "student,file,submitted_at",
        "bob,bob/first.ipynb,2026-03-01T08:00Z",
        "bob,bob/second.ipynb,2026-03-01T11:00Z",
    ]
    rows += ["bob,bob/third.ipynb,2026-03-01T11:00:01Z", "Alice A.,alice.ipynb,2026-03-02T00:00Z"]
    (folder / "submissions.csv").write_text("\n".join(rows) + "\n")
    return folder


def options(mini: Course, report: Path, *more: object) -> list[object]:
    base = ["--course", mini.root, "--report", report, "--no-visible", "--deadline", DEADLINE]
    return [*base, "--jobs", 2, *more]


@pytest.fixture(scope="module")
def whole(mini: Course, handed_in: Path) -> Path:
    """The results of the class."""
    report = handed_in.parent / "whole"
    done = run("grade", handed_in, *options(mini, report))
    assert done.returncode == 0, done.stderr
    assert "\x1b[31m" not in done.stdout + done.stderr
    assert "no submission: notes.txt" in done.stderr
    assert "100%" in done.stderr
    return report


def rows_of(report: Path) -> dict[str, dict[str, str]]:
    return {row["file"]: row for row in csv.DictReader(io.StringIO((report / "class.csv").read_text()))}


def test_the_class_has_a_row_for_each_student(whole: Path) -> None:
    rows = rows_of(whole)
    assert len(rows) == 6
    assert "bob/second.ipynb" in rows
    assert not {"bob/first.ipynb", "bob/third.ipynb", ".hidden.ipynb"} & set(rows)
    bob, alice, exits = rows["bob/second.ipynb"], rows["alice.ipynb"], rows["exits.ipynb"]
    assert (bob["points"], bob["late"], bob["submissions"]) == ("5", "no", "3")
    assert (alice["student"], alice["points"], alice["late"]) == ("Alice A.", "5", "yes")
    assert (exits["points"], exits["00_mini: scale-density"], exits["00_mini: shift-module"]) == ("2", "0", "2")
    assert rows["garbage.ipynb"]["status"] == rows["link.ipynb"]["status"] == "unreadable"


def test_late_and_replaced_submissions_are_graded_too(whole: Path) -> None:
    entries = {entry["file"]: entry for entry in json.loads((whole / "class.json").read_text())["entries"]}
    assert {file: entries[f"bob/{file}.ipynb"]["points"] for file in ("first", "second", "third")} == {
        "first": 3,
        "second": 5,
        "third": 2,
    }
    assert [entries[f"bob/{file}.ipynb"]["late"] for file in ("first", "second", "third")] == [False, False, True]


def test_a_report_is_the_same_as_when_graded_alone(mini: Course, handed_in: Path, whole: Path, tmp_path: Path) -> None:
    for file in ("exits.ipynb", "bob/first.ipynb"):
        alone = tmp_path / file.replace("/", "-")
        done = run("grade", handed_in / file, "--course", mini.root, "--report", alone, "--no-visible")
        assert done.returncode == 0, done.stderr
        key = next(
            row["key"] for row in json.loads((whole / "batch.json").read_text())["submissions"] if row["file"] == file
        )
        assert contents(alone) == contents(whole / "submissions" / key, without="record.json")


def test_shards_merged_are_the_whole(mini: Course, handed_in: Path, whole: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "one", tmp_path / "two"]
    for number, part in enumerate(parts, 1):
        assert run("grade", handed_in, *options(mini, part, "--shard", f"{number}/2")).returncode == 0
    done = run("merge", *parts, "--report", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "merged") == contents(whole)
    lacking = run("merge", parts[0], "--report", tmp_path / "half")
    assert lacking.returncode == 1
    assert "is a shard missing?" in lacking.stderr
    assert not (tmp_path / "half" / "class.csv").exists()


def test_what_is_done_is_not_done_again(mini: Course, handed_in: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("report.json")}
    files = contents(whole)
    start = time.monotonic()
    assert run("grade", handed_in, *options(mini, whole)).returncode == 0
    assert time.monotonic() - start < 60
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("report.json")} == before
    assert contents(whole) == files


def children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def wait_for(condition: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def heed_interrupts() -> None:
    """Undo what a shell does to commands in the background, this test run perhaps among them: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_stopped_batch_goes_on(
    number: signal.Signals, mini: Course, handed_in: Path, whole: Path, tmp_path: Path
) -> None:
    for attempt in range(5):  # on a busy machine the class can be done before the signal is sent
        out = tmp_path / str(attempt)
        line = command("grade", handed_in, *options(mini, out, "--jobs", 1))
        pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(line, preexec_fn=heed_interrupts, **pipes) as process:
            wait_for(lambda: list(out.glob("submissions/*/report.json")))  # noqa: B023  (called in this round alone)
            workers = children(process.pid)
            process.send_signal(number)
            said = process.communicate(timeout=60)[1]
        if not (out / "class.csv").exists():
            break
    assert workers
    assert process.returncode == (130 if number != signal.SIGKILL else -9)
    assert ("goes on from here" in said) == (number != signal.SIGKILL)
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    finished = [path.parent for path in out.glob("submissions/*/record.json") if load_record(path.parent)]
    before = {path: (path / "record.json").stat().st_mtime_ns for path in finished if (path / "report.json").exists()}
    assert len(list(out.glob("submissions/*/record.json"))) < 8
    assert not (out / "class.csv").exists()
    assert run("grade", handed_in, *options(mini, out)).returncode == 0
    assert {path: (path / "record.json").stat().st_mtime_ns for path in before} == before
    for leftover in out.rglob(".*.partial"):
        leftover.unlink()
    assert contents(out) == contents(whole)


def test_a_lost_grading_process_is_replaced(mini: Course, handed_in: Path, whole: Path, tmp_path: Path) -> None:
    line = command("grade", handed_in, *options(mini, tmp_path, "--jobs", 1))
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: list(tmp_path.glob("submissions/*/report.json")))
        for worker in children(process.pid):
            os.kill(worker, signal.SIGKILL)
        assert process.wait(120) == 0
    assert contents(tmp_path) == contents(whole)


def test_what_has_changed_is_graded_anew(mini: Course, tmp_path: Path) -> None:
    path = hand_in(mini, tmp_path / "in" / "zoe.ipynb")
    report, seen = tmp_path / "out", []
    for seed in (0, 1):
        assert run("grade", path.parent, *options(mini, report, "--seed", seed)).returncode == 0
        (graded,) = report.glob("submissions/*/report.json")
        content = json.loads(graded.read_text())
        seen.append((content["seed"], content["points"]))
        hand_in(mini, path, {"shift-module": "1 / 0"})
    assert seen == [(0, 5), (1, 3)]


def test_only_whole_results_of_the_same_are_done(mini: Course, tmp_path: Path) -> None:
    wanted = {"content": "abc", "settings": {"seed": 0, "grader": "1"}}
    record = {"status": GRADED, "exercise": "00_mini", "problem": "", "faults": [], **wanted}
    assert not is_done(tmp_path, wanted)
    store(tmp_path, record, made_up_report())
    assert is_done(tmp_path, wanted)
    assert not is_done(tmp_path, wanted | {"content": "abd"})
    assert not is_done(tmp_path, wanted | {"settings": {"seed": 0, "grader": "2"}})
    (tmp_path / "report.json").write_text("{}")
    assert not is_done(tmp_path, wanted)
    store(tmp_path, record | {"status": "not graded"}, None)
    assert not is_done(tmp_path, wanted)
    (tmp_path / "record.json").write_text('{"status": ')
    assert not is_done(tmp_path, wanted)


def test_the_version_of_the_grader_follows_the_course(mini: Course, tmp_path: Path) -> None:
    shutil.copytree(mini.root, tmp_path / "course")
    course = Course(tmp_path / "course")
    versions = [grader_version(course), grader_version(mini)]
    assert versions[0] == versions[1]
    for path in (course.suite("00_mini"), course.solutions / "00_mini.ipynb", signatures_path(course, "00_mini")):
        path.write_text(path.read_text() + "\n")
        versions.append(grader_version(course))
    assert len(set(versions)) == 4


def test_a_broken_course_is_told_and_graded_later(mini: Course, tmp_path: Path) -> None:
    course = Course(tmp_path / "course")
    for source, text in ((mini.solutions / "00_mini.ipynb", None), (mini.suite("00_mini"), "raise ValueError")):
        target = course.root / source.relative_to(mini.root)
        target.parent.mkdir(parents=True)
        target.write_text(text or source.read_text())
    hand_in(mini, tmp_path / "in" / "zoe.ipynb")
    done = run("grade", tmp_path / "in", *options(course, tmp_path / "out"))
    assert done.returncode == 1
    assert "not graded: zoe.ipynb: The hidden suite" in done.stderr
    course.suite("00_mini").write_text(mini.suite("00_mini").read_text())
    assert run("grade", tmp_path / "in", *options(course, tmp_path / "out")).returncode == 0
    assert rows_of(tmp_path / "out")["zoe.ipynb"]["points"] == "5"


def test_a_batch_that_cannot_start_says_why(mini: Course, handed_in: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, word in (
        ((tmp_path / "empty",), "holds no"),
        ((handed_in, "--shard", "3/2"), "i/n"),
        ((handed_in, "--deadline", "soon"), "not a time"),
    ):
        done = run("grade", *arguments, "--course", mini.root, "--report", tmp_path / "r")
        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr
    assert run("grade", handed_in, "--course", tmp_path, "--report", tmp_path / "r").returncode == 1
    done = run("merge", tmp_path / "empty", "--report", tmp_path / "r")
    assert done.returncode == 1
    assert "no results of a class" in done.stderr


def test_names_of_students_cannot_act(whole: Path) -> None:
    for name in ("class.csv", "class.json", "summary.md", "junit.xml", "overview.html", "batch.json"):
        text = (whole / name).read_text()
        assert "\x1b" not in text
        assert "::" not in text
    (nasty,) = [row for file, row in rows_of(whole).items() if "cmd" in file]
    assert nasty["student"].startswith("'=cmd")
    page = BeautifulSoup((whole / "overview.html").read_text(), "html.parser")
    assert not page.find_all(["script", "b", "img"])
    for link in page.find_all("a"):
        assert (whole / link["href"]).is_file()
    assert all(len(path.name) < 60 for path in (whole / "submissions").iterdir())
    summary = (whole / "summary.md").read_text()
    assert not any(name in summary for name in ("bob", "Alice", "exits"))


def test_the_overview_has_numbers_hints_and_problems(whole: Path) -> None:
    page = BeautifulSoup((whole / "overview.html").read_text(), "html.parser")
    text = page.get_text(" ")
    assert page.find("svg").find("desc").string == "2 points: 2; 5 points: 2"
    assert "How does" not in text
    assert "garbage.ipynb (unreadable)" in text
    assert "notes.txt" in text


# From here on, results are made up: the rules, without grading.


def made_up_class(folder: Path, submissions: list[tuple[str, str, str, dict[str, Any] | None]], deadline: str) -> Path:
    """Write results as if submissions (student, file, time, report) had been graded."""
    rows = []
    for student, file, when, report in submissions:
        submitted = Submitted(file, student, parse_time(when).isoformat() if when else "")
        rows.append(submitted.row())
        record = {"status": GRADED if report else UNREADABLE, "exercise": (report or {}).get("exercise", "00_mini")}
        record |= {"problem": "" if report else "no notebook", "faults": [], "content": "", "settings": {}}
        store(folder / "submissions" / submitted.key, record, report)
    batch = {"schema_version": 1, "settings": {}, "deadline": parse_time(deadline).isoformat() if deadline else ""}
    (folder / "batch.json").write_text(json_text(batch | {"shard": "1/1", "ignored": [], "submissions": rows}))
    return folder


@pytest.mark.parametrize(
    ("times", "deadline", "chosen", "late"),
    [
        (["08:00", "09:00", "10:00"], "12:00", 2, False),
        (["08:00", "13:00", "11:00"], "12:00", 2, False),
        (["08:00", "12:00", "12:01"], "12:00", 1, False),
        (["14:00", "13:00", "13:30"], "12:00", 0, True),
        (["14:00", "13:00", "13:30"], "", 0, False),
        (["10:00", "10:00", "09:00"], "12:00", 1, False),
        (["", "", ""], "", 2, False),
        (["", "08:00", ""], "12:00", 1, False),
        (["", "13:00", "14:00"], "12:00", 0, False),
    ],
)
def test_which_submission_counts(times: list[str], deadline: str, chosen: int, late: bool, tmp_path: Path) -> None:
    stamps = [f"2026-03-01T{clock}Z" if clock else "" for clock in times]
    handed = [("ann", f"ann/{n}.ipynb", stamp, made_up_report()) for n, stamp in enumerate(stamps)]
    book = write_class(made_up_class(tmp_path, handed, f"2026-03-01T{deadline}Z" if deadline else ""))
    (entry,) = book.counted
    assert (entry["file"], entry["late"]) == (f"ann/{chosen}.ipynb", late)


def test_a_broken_file_takes_no_ones_place(tmp_path: Path) -> None:
    handed = [
        ("ann", "ann/1.ipynb", "2026-03-01T08:00Z", made_up_report(0)),
        ("ann", "ann/2.ipynb", "2026-03-01T09:00Z", None),
    ]
    handed += [("ann", "ann/3.ipynb", "2026-03-01T07:00Z", made_up_report(3, "01_other"))]
    book = write_class(made_up_class(tmp_path, handed, ""))
    assert [entry["file"] for entry in book.counted] == ["ann/1.ipynb", "ann/3.ipynb"]


def test_results_that_do_not_fit_are_not_merged(tmp_path: Path) -> None:
    one = made_up_class(tmp_path / "1", [("ann", "a.ipynb", "", made_up_report(3))], "")
    two = made_up_class(tmp_path / "2", [("ann", "a.ipynb", "", made_up_report(0))], "")
    with pytest.raises(BatchError, match="not the same"):
        merge([one, two], tmp_path / "out")
    three = made_up_class(tmp_path / "3", [("ann", "a.ipynb", "", made_up_report(3))], "2026-03-01T08:00Z")
    with pytest.raises(BatchError, match="belong together"):
        merge([one, three], tmp_path / "out")
    batch = (one / "batch.json").read_text()
    (one / "batch.json").write_text(batch.replace('"key": "ann', '"key": "../ann'))
    with pytest.raises(BatchError, match="damaged"):
        merge([one], tmp_path / "out")


def test_times() -> None:
    assert parse_time("2026-03-01T12:00") == parse_time("2026-03-01T13:00+01:00") == parse_time("2026-03-01T12:00Z")
    assert is_late("2026-03-01T11:00:01Z", DEADLINE)
    assert not is_late("2026-03-01T11:00:00Z", DEADLINE)
    assert not is_late("", DEADLINE)
    with pytest.raises(BatchError, match="not a time"):
        parse_time("yesterday\n")


def test_the_list_of_submissions_must_fit(mini: Course, tmp_path: Path) -> None:
    hand_in(mini, tmp_path / "a.ipynb")
    for text, word in (
        ("student,file\nx,a.ipynb\n", "submitted_at"),
        ("student,file,submitted_at\nx,b.ipynb,\n", "not there"),
        ("student,file,submitted_at\nx,a.ipynb,\ny,a.ipynb,\n", "twice"),
        ("student,file,submitted_at\nx,a.ipynb,noon\n", "not a time"),
        ("student,file,submitted_at\nx,../a.ipynb,\n", "not there"),
    ):
        (tmp_path / "submissions.csv").write_text(text)
        with pytest.raises(BatchError, match=word):
            find_submissions(tmp_path)


def test_shards_part_the_class() -> None:
    everyone = [Submitted(f"{n:02}.ipynb", str(n)) for n in range(11)]
    for count in (1, 2, 3, 12):
        parts = [shard_of(everyone, f"{number}/{count}") for number in range(1, count + 1)]
        assert sorted(submitted for part in parts for submitted in part) == everyone
    for wrong in ("0/1", "2/1", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(BatchError):
            shard_of(everyone, wrong)


def test_keys_are_safe_and_differ() -> None:
    names = ["../../x.ipynb", "a/b.ipynb", "a_b.ipynb", "\udcff.ipynb", "é.ipynb", "x" * 200 + ".ipynb", "-rf.ipynb"]
    keys = [Submitted(name, name[:-6]).key for name in names]
    assert len(set(keys)) == len(names)
    assert all(key.replace("-", "").replace("_", "").isalnum() and key.isascii() for key in keys)
    assert Submitted("a\x01.ipynb", "a\x01").row()["student"] != Submitted("a .ipynb", "a ").row()["student"]


def test_histogram_and_statistics() -> None:
    assert sum(count for _, count in histogram([0, 1.5, 3, 3], 3)) == 4
    assert [label for label, _ in histogram([], 3)] == ["0", "1", "2", "3"]
    bars = histogram(list(range(101)), 100)
    assert sum(count for _, count in bars) == 101
    assert bars[0][0] == "0–4"
    assert bars[-1] == ("95–100", 6)
    reports = {"a": made_up_report(3), "b": made_up_report(0, mistakes=[{"name": "sign", "hint": "h"}])}
    (figures,) = statistics([{"key": key, "exercise": "00_mini"} for key in reports], reports)
    assert (figures["mean"], figures["median"], figures["points"]) == (1.5, 1.5, [0, 3])
    assert figures["tasks"] == [{"id": "only", "title": "The only task", "passed": 1, "missing": 0}]
    assert figures["mistakes"] == [{"task": "only", "name": "sign", "hint": "h", "students": 1}]
