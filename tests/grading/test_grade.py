"""Grading from file to report: every kind of bad input, exit statuses, the same bytes on a second grading."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from course_flows import cli
from course_flows.grading import commands, isolation, notebooks
from course_flows.grading.course import Course, CourseError, find_course
from course_flows.grading.files import read_file
from course_flows.grading.grade import grade_file
from course_flows.grading.isolation import IsolationError, open_pool
from course_flows.grading.limits import Limits
from course_flows.grading.notebooks import NotebookError
from course_flows.grading.pool import PoolError, Worker, WorkerPool
from course_flows.grading.report import markdown, write_report

Change = Callable[[dict[str, Any]], None]


def submission(mini: Course, folder: Path, change: Change | None = None, name: str = "handed_in.ipynb") -> Path:
    """Write a rightly answered notebook, with a change."""
    notebook = mini.release("00_mini")
    solution = {cell["id"]: cell for cell in mini.solution("00_mini")["cells"]}
    for cell in notebook["cells"]:
        if notebooks.is_solution(cell):
            cell["source"] = notebooks.source_of(solution[cell["id"]])
    if change is not None:
        change(notebook)
    path = folder / name
    path.write_text(notebooks.dump(notebook), encoding="utf-8")
    return path


def graded(path: Path, mini: Course, pool: WorkerPool, **options: Any) -> dict[str, Any]:
    return grade_file(path, mini, pool, visible=False, **options).report


def points(report: dict[str, Any]) -> dict[str, float]:
    return {task["id"]: task["points"] for task in report["tasks"]}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli.main, [str(argument) for argument in arguments])


def test_a_right_notebook_has_full_points_in_both_stages(mini: Course, pool: WorkerPool, tmp_path: Path) -> None:
    report = grade_file(submission(mini, tmp_path), mini, pool).report
    assert report["points"] == report["max_points"] == 5
    assert report["isolation"] == pool.tier
    assert [task["visible"] for task in report["tasks"]] == ["passed", "passed"]
    assert [task["feedback"] for task in report["tasks"]] == [[], []]
    assert set(report) == {
        "schema_version",
        "notebook",
        "exercise",
        "points",
        "max_points",
        "isolation",
        "seed",
        "tasks",
    }


def test_the_untouched_notebook_has_no_points_and_says_so(mini: Course, pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / "00_mini.ipynb"
    path.write_text(notebooks.dump(mini.release("00_mini")), encoding="utf-8")
    report = grade_file(path, mini, pool).report
    assert report["points"] == 0
    for task in report["tasks"]:
        assert task["status"] == task["visible"] == "failed"
        assert task["feedback"] == ["This task is not written yet."]


def test_a_cell_that_cannot_run_is_told_once_and_by_its_own_error(
    mini: Course, best_pool: WorkerPool, tmp_path: Path
) -> None:
    def broken(notebook: dict[str, Any]) -> None:
        notebook["cells"][3]["source"] = "def scale_log_density(x, a:\n    return x\n"

    first, second = grade_file(submission(mini, tmp_path, broken), mini, best_pool).report["tasks"]
    assert (first["points"], second["points"]) == (0, 2)
    assert len(first["feedback"]) == 2
    for line in first["feedback"]:
        assert "SyntaxError" in line
        assert "NameError" not in line


def test_checks_that_stop_in_the_same_way_are_told_once(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    def raising(notebook: dict[str, Any]) -> None:
        notebook["cells"][3]["source"] = "def scale_log_density(x, a):\n    raise TypeError('no')\n"

    first = grade_file(submission(mini, tmp_path, raising), mini, best_pool).report["tasks"][0]
    assert sum("TypeError: no" in line for line in first["feedback"]) == 2  # the visible check, and the hidden ones
    assert any("checks ended in the same way" in line for line in first["feedback"])


def test_a_visible_failure_takes_no_points(mini: Course, pool: WorkerPool, tmp_path: Path) -> None:
    def chatty(notebook: dict[str, Any]) -> None:
        notebook["cells"][3]["source"] += "\n\n_quiet = scale_log_density\ndef scale_log_density(x, a):\n"
        notebook["cells"][3]["source"] += "    print('here')\n    return _quiet(x, a)\n"

    report = grade_file(submission(mini, tmp_path, chatty), mini, pool).report
    first, second = report["tasks"]
    assert (first["points"], first["visible"]) == (3, "failed")
    assert "printed" in first["feedback"][0]
    assert (second["points"], second["visible"], second["feedback"]) == (2, "passed", [])


def test_the_kernel_of_the_visible_stage_is_locked(mini: Course, pool: WorkerPool, tmp_path: Path) -> None:
    suite = str(mini.suite("00_mini"))

    def probing(notebook: dict[str, Any]) -> None:
        notebook["cells"][3]["source"] += f"""

import os, socket
for attempt in (
    lambda: open({suite!r}),
    lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect("/run/any"),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    lambda: os.fork(),
    lambda: os.kill(os.getppid(), 0),
    lambda: open({str(tmp_path / "owned")!r}, "w"),
):
    try:
        attempt()
    except PermissionError:
        continue
    except OSError as error:
        assert error.errno == 2, error
        continue
    raise SystemError("not locked")
"""

    report = grade_file(submission(mini, tmp_path, probing), mini, pool).report
    assert [task["visible"] for task in report["tasks"]] == ["passed", "passed"]
    assert report["points"] == 5


def drop(name: str) -> Change:
    return lambda notebook: notebook["cells"].remove(next(c for c in notebook["cells"] if c["id"] == name))


def double(name: str) -> Change:
    def change(notebook: dict[str, Any]) -> None:
        cell = next(cell for cell in notebook["cells"] if cell["id"] == name)
        notebook["cells"].append(cell | {"id": "copy"})

    return change


@pytest.mark.parametrize(("change", "word"), [(drop("shift-module"), "missing"), (double("shift-module"), "2 cells")])
def test_deleted_and_duplicated_cells_cost_their_task_only(
    change: Change, word: str, mini: Course, best_pool: WorkerPool, tmp_path: Path
) -> None:
    report = graded(submission(mini, tmp_path, change), mini, best_pool)
    assert points(report) == {"scale-density": 3, "shift-module": 0}
    assert word in report["tasks"][1]["feedback"][0]
    assert report["tasks"][1]["status"] == "missing"


def test_staff_cells_and_everything_else_in_a_submission_are_ignored(
    mini: Course, best_pool: WorkerPool, tmp_path: Path
) -> None:
    def change(notebook: dict[str, Any]) -> None:
        notebook["metadata"]["kernelspec"] = {"name": "evil"}
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code" and not notebooks.is_solution(cell):
                cell["source"] = "raise SystemExit"
        drop("setup")(notebook)

    (tmp_path / "conftest.py").write_text("raise SystemExit")
    (tmp_path / "pytest.py").write_text("raise SystemExit")
    assert graded(submission(mini, tmp_path, change), mini, best_pool)["points"] == 5


def test_regrading_gives_the_same_bytes(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    def wrong(notebook: dict[str, Any]) -> None:
        notebook["cells"][3]["source"] = "def scale_log_density(x, a):\n    return x + torch.rand(len(x))"

    path = submission(mini, tmp_path, wrong)
    texts = []
    for name in ("first", "second"):
        write_report(graded(path, mini, best_pool, seed=3), tmp_path / name)
        texts.append([(tmp_path / name / file).read_bytes() for file in ("report.json", "report.md")])
    assert texts[0] == texts[1]
    assert json.loads(texts[0][0])["points"] == 2
    assert b"2 of 5 points" in texts[0][1]


def test_a_report_is_escaped(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    def nasty(notebook: dict[str, Any]) -> None:
        notebook["cells"][3]["source"] = "raise ValueError('<script>[x](y)\\x1b[0m\\n# big')"

    report = graded(submission(mini, tmp_path, nasty, "<b>.ipynb"), mini, best_pool)
    text = markdown(report)
    assert "<script>" not in text
    assert "<b>" not in text
    assert "\n# big" not in text
    assert "\x1b" not in json.dumps(report, ensure_ascii=False)


@pytest.mark.parametrize("kind", ["json", "text", "binary", "folder", "fifo", "link", "hard-link", "giant", "absent"])
def test_what_is_no_notebook(kind: str, mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    path, real = tmp_path / "nb.ipynb", submission(mini, tmp_path)
    if kind in ("json", "text", "binary"):
        path.write_bytes({"json": b"{}", "text": b"hello", "binary": os.urandom(999)}[kind])
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(real)
    elif kind == "hard-link":
        os.link(real, path)
    elif kind == "giant":
        path.write_bytes(b" " * (best_pool.limits.notebook_bytes + 1))
    with pytest.raises(NotebookError) as info:
        graded(path, mini, best_pool)
    assert str(info.value).endswith(".")
    assert "\n" not in str(info.value)


def test_json_bombs_are_read_behind_the_lock(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    path = tmp_path / "nb.ipynb"
    for bomb in (b"[" * 2_000_000, b'{"cells": [' + b"[],".join([b""] * 500_000) + b'1], "nbformat": 4}'):
        path.write_bytes(bomb)
        with pytest.raises(NotebookError):
            graded(path, mini, best_pool)


def test_the_exercise_is_recognized(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    def anonymous(notebook: dict[str, Any]) -> None:
        del notebook["metadata"]["course_flows"]

    assert graded(submission(mini, tmp_path, anonymous, "00_mini.ipynb"), mini, best_pool)["points"] == 5
    path = submission(mini, tmp_path, anonymous, "mine.ipynb")
    with pytest.raises(NotebookError, match="--exercise"):
        graded(path, mini, best_pool)
    assert graded(path, mini, best_pool, exercise="00_mini")["points"] == 5


def test_exit_statuses_and_one_sentence(mini: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = submission(mini, tmp_path)
    result = run("grade", good, "--course", mini.root, "--report", tmp_path / "r")
    assert result.exit_code == 0
    assert json.loads((tmp_path / "r" / "report.json").read_text())["points"] == 5
    bad = tmp_path / "bad.ipynb"
    bad.write_text("no")
    result = run("grade", bad, "--course", mini.root, "--report", tmp_path / "s")
    assert result.exit_code == 2
    assert not (tmp_path / "s").exists()
    assert result.output.count("\n") == 1
    assert "Traceback" not in result.output
    assert run("grade", good, "--course", tmp_path, "--report", tmp_path / "s").exit_code == 1
    monkeypatch.setattr(isolation, "WorkerPool", no_pool)
    result = run("grade", good, "--course", mini.root, "--report", tmp_path / "s")
    assert result.exit_code == 3
    assert result.output.count("\n") == 1
    assert "libseccomp" in result.output


def no_pool(tier: str, limits: object = None) -> WorkerPool:
    if tier != "none":
        raise isolation.PoolError("it was taken away")
    return WorkerPool("none")


def test_unsafe_is_marked_and_refused_in_ci(mini: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(IsolationError, match="CI=true"):
        open_pool(unsafe=True, tiers=(), environment={"CI": "true"})
    with pytest.raises(IsolationError, match="isolated"):
        open_pool(tiers=(), environment={})
    monkeypatch.setattr(isolation, "WorkerPool", no_pool)
    monkeypatch.delenv("CI", raising=False)
    result = run("grade", submission(mini, tmp_path), "--course", mini.root, "--report", tmp_path / "r", "--unsafe")
    assert result.exit_code == 0
    assert "NO ISOLATION" in result.output
    assert json.loads((tmp_path / "r" / "report.json").read_text())["isolation"] == "none"
    assert "nobody should believe" in (tmp_path / "r" / "report.md").read_text()


def test_check_speaks_in_words_and_needs_no_suite(mini: Course, tmp_path: Path) -> None:
    def wrong(notebook: dict[str, Any]) -> None:
        notebook["cells"][3]["source"] = "def scale_log_density(x, a):\n    return 0 * x"

    result = run("check", submission(mini, tmp_path, wrong))
    assert result.exit_code == 1
    assert "scale-density: failed: AssertionError: the standard normal has log-density -0.919 at 0" in result.output
    assert "shift-module: passed" in result.output
    (tmp_path / "bad.ipynb").write_text("[]")
    assert run("check", tmp_path / "bad.ipynb").exit_code == 2


def test_a_course_that_workers_could_read_is_refused(
    mini: Course, best_pool: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("course_flows.grading.grade.readable_paths", lambda: [mini.root])
    with pytest.raises(IsolationError, match="may read"):
        graded(submission(mini, tmp_path), mini, best_pool)


def test_a_broken_suite_is_the_courses_fault(mini: Course, best_pool: WorkerPool, tmp_path: Path) -> None:
    course = Course(tmp_path / "course")
    course.solutions.mkdir(parents=True)
    course.hidden.mkdir(parents=True)
    (course.solutions / "00_mini.ipynb").write_bytes((mini.solutions / "00_mini.ipynb").read_bytes())
    suite = mini.suite("00_mini").read_text(encoding="utf-8")
    path = submission(mini, tmp_path)
    for text in (
        "raise ValueError",
        "",
        "def test_without_a_task(student):\n    pass",
        suite.replace('"shift-module"', '"another-task"'),
        suite.split('@property_of("shift-module"')[0],
    ):
        (course.hidden / "test_00_mini.py").write_text(text, encoding="utf-8")
        with pytest.raises(CourseError):
            graded(path, course, best_pool)
    (course.hidden / "test_00_mini.py").write_text(suite.replace("assert_close(z, x, 0.0)", "pytest.skip()"))
    assert points(graded(path, course, best_pool)) == {"scale-density": 3, "shift-module": 0}


def test_a_grader_that_breaks_off_judges_nothing(mini: Course, tmp_path: Path) -> None:
    def exhausting(tier: str) -> None:
        with WorkerPool(tier) as pool:
            original, spawned = pool.spawn, []

            def spawn(limits: Limits | None = None) -> Worker:
                spawned.append(1)
                if len(spawned) > 1:
                    raise PoolError("no more workers")
                return original(limits)

            pool.spawn = spawn
            graded(submission(mini, tmp_path), mini, pool)

    with pytest.raises(PoolError, match="nothing was judged"):
        exhausting("landlock")


def test_a_plain_file_is_read_and_a_course_is_found(mini: Course, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12")
    assert read_file(path, 2) == b"12"
    assert find_course(mini.root).exercise_names() == ["00_mini"]
    with pytest.raises(CourseError, match="--course"):
        find_course(tmp_path)
    assert commands.NOT_ISOLATED == 3
