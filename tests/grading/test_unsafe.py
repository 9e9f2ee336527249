"""Grading a class without isolation: shouted, stamped on every result, and refused where CI=true."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from classroom import hand_in

from course_flows.grading.course import Course
from course_flows.grading.isolation import UNSAFE_BANNER

# A Python in which no tier can be had: what `course-flows` and every grading process of a class is started with.
WITHOUT_TIERS = f"""#!{sys.executable}
import runpy, sys
from course_flows.grading import isolation
pool = isolation.WorkerPool
def only_unlocked(tier, *more):
    if tier != "none":
        raise isolation.PoolError("it was taken away")
    return pool(tier, *more)
isolation.WorkerPool = only_unlocked
sys.argv = sys.argv[sys.argv.index("-m") + 1:]
sys.executable = sys.executable if sys.argv[0] == "course_flows.grading.batch_worker" else __file__
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def grade(mini: Course, folder: Path, *options: str, taken_away: bool = True, ci: str = "") -> tuple[int, str]:
    """Grade the class in a folder, with or without isolation to be had; return exit status and what was said."""
    program = sys.executable
    if taken_away:
        python = folder.parent / "python-without-tiers"
        python.write_text(WITHOUT_TIERS, encoding="utf-8")
        python.chmod(0o755)
        program = str(python)
    line = [program, "-m", "course_flows.cli", "grade", str(folder), "--course", str(mini.root), "--no-visible"]
    line += ["--report", str(folder.parent / "report"), "--jobs", "2", *options]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=os.environ | {"CI": ci})
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def handed_in(mini: Course, tmp_path: Path) -> Path:
    """A class of two."""
    for name in ("ann", "bob"):
        hand_in(mini, tmp_path / "class" / f"{name}.ipynb")
    return tmp_path / "class"


def test_an_unsafe_class_is_shouted_and_stamped(mini: Course, handed_in: Path) -> None:
    status, said = grade(mini, handed_in, "--unsafe")
    assert status == 0, said
    assert said.count(UNSAFE_BANNER) == 1
    report = handed_in.parent / "report"
    found = [json.loads(path.read_text()) for path in report.glob("submissions/*/report.json")]
    assert [(one["isolation"], one["points"]) for one in found] == [("none", 5), ("none", 5)]
    with (report / "class.csv").open(encoding="utf-8") as table:
        assert [row["isolation"] for row in csv.DictReader(table)] == ["none", "none"]
    for name in ("overview.html", "summary.md"):
        assert "nobody should believe these results" in (report / name).read_text()


@pytest.mark.parametrize(("options", "ci", "word"), [(["--unsafe"], "true", "CI=true"), ([], "", "isolated")])
def test_where_it_is_refused_nothing_is_run(
    options: list[str], ci: str, word: str, mini: Course, handed_in: Path
) -> None:
    status, said = grade(mini, handed_in, *options, ci=ci)
    assert status == 3
    assert word in said
    assert UNSAFE_BANNER not in said
    assert not list(handed_in.parent.glob("report/**/report.json"))
    assert not (handed_in.parent / "report" / "class.csv").exists()


def test_unsafe_takes_no_isolation_away(mini: Course, handed_in: Path) -> None:
    status, said = grade(mini, handed_in, "--unsafe", taken_away=False, ci="true")
    assert status == 0, said
    assert UNSAFE_BANNER not in said
    report = handed_in.parent / "report"
    assert all(json.loads(path.read_text())["isolation"] != "none" for path in report.glob("submissions/*/report.json"))
    assert "nobody" not in (report / "overview.html").read_text() + (report / "summary.md").read_text()
