"""Measures how quickly a class is graded; writes book/results/grading_throughput.json.

Run as ``python tests/grading/measure_throughput.py``. Thirty submissions of the first exercise, each with one task
answered from the bank, right or wrong, are graded two at a time; beside them one good submission alone. The checks that
the notebook shows grant no points and are not counted. Times include the start of the grader where that is said.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from course_flows.grading import notebooks
from course_flows.grading.bank import answers_of
from course_flows.grading.course import Course
from course_flows.grading.grade import grade_file
from course_flows.grading.isolation import open_pool

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "book" / "results" / "grading_throughput.json"
COURSE = Course(ROOT)
SUBMISSIONS, JOBS, REPEATS = 30, 2, 5


def write_class(folder: Path, exercise: str) -> Path:
    """Write the class and return one good submission, which is not part of it."""
    answers = answers_of(COURSE, exercise)
    chosen = [answers[index * len(answers) // SUBMISSIONS] for index in range(SUBMISSIONS)]
    (folder / "class").mkdir()
    for number, answer in enumerate(chosen):
        text = answer.path.read_text(encoding="utf-8")
        write_submission(folder / "class" / f"student_{number:02}.ipynb", exercise, {answer.task: text})
    return write_submission(folder / "good.ipynb", exercise, {})


def write_submission(path: Path, exercise: str, answers: dict[str, str]) -> Path:
    """Write the reference solution as a student's notebook, with some answers replaced."""
    notebook = COURSE.solution(exercise)
    notebook["metadata"]["course_flows"] = {"exercise": exercise}
    for cell in notebook["cells"]:
        name = notebooks.grade_id(cell) or ""
        if notebooks.is_solution(cell) and name in answers:
            cell["source"] = answers[name]
    path.write_text(notebooks.dump(notebook), encoding="utf-8")
    return path


def seconds_of(*arguments: object) -> float:
    """Return the wall-clock seconds that a call of course-flows takes."""
    program = Path(sys.executable).with_name("course-flows")
    start = time.perf_counter()
    subprocess.run([program, *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - start


def measure(folder: Path) -> dict[str, Any]:
    """Return all that is measured."""
    exercise = COURSE.exercise_names()[0]
    good = write_class(folder, exercise)
    common = ["--course", ROOT, "--no-visible"]
    load = os.getloadavg()[0]
    whole = seconds_of("grade", folder / "class", *common, "--jobs", JOBS, "--report", folder / "reports")
    again = seconds_of("grade", folder / "class", *common, "--jobs", JOBS, "--report", folder / "reports")
    graded = [json.loads(path.read_text())["points"] for path in (folder / "reports").glob("submissions/*/report.json")]
    alone = seconds_of("grade", good, *common, "--report", folder / "alone")
    with open_pool() as pool:
        tier = pool.tier
        grade_file(good, COURSE, pool, visible=False)
        warm = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            grade_file(good, COURSE, pool, visible=False)
            warm.append(time.perf_counter() - start)
        start = time.perf_counter()
        grade_file(good, COURSE, pool)
        both_stages = time.perf_counter() - start
    return {
        "command": "python tests/grading/measure_throughput.py",
        "hardware": f"{len(os.sched_getaffinity(0))} CPU cores, {platform.machine()}",
        "load_before": round(load, 1),
        "isolation": tier,
        "exercise": exercise,
        "seed": 0,
        "submissions": len(graded),
        "with_full_points": sum(points == max(graded) for points in graded),
        "jobs": JOBS,
        "visible_stage": False,
        "class_seconds": round(whole, 1),
        "class_seconds_per_submission": round(whole / len(graded), 2),
        "class_again_seconds": round(again, 1),
        "alone_seconds_with_start": round(alone, 1),
        "alone_seconds_warm": round(statistics.median(warm), 2),
        "alone_seconds_warm_with_visible_stage": round(both_stages, 1),
    }


def main() -> None:
    """Measure and write the file."""
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
