"""One grading process of a class, started by `course_flows.grading.batch`.

It is trusted and owns a fork server. Settings and then jobs come in as lines of JSON; a line goes out for each when its
results are written. It leaves when its input ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import IO, Any

from course_flows.grading.course import Course, CourseError
from course_flows.grading.files import read_file
from course_flows.grading.grade import grade_data
from course_flows.grading.isolation import IsolationError, open_pool
from course_flows.grading.notebooks import NotebookError
from course_flows.grading.pool import PoolError, WorkerPool
from course_flows.grading.records import GRADED, NOT_GRADED, UNREADABLE, store
from course_flows.grading.text import one_line

__all__ = ["grade_one", "main"]


def grade_one(job: dict[str, Any], settings: dict[str, Any], course: Course, pool: WorkerPool) -> str:
    """Grade one submission and store its results; return its status. PoolError passes through, unstored."""
    path = Path(job["path"])
    record: dict[str, Any] = {"status": UNREADABLE, "exercise": "", "problem": "", "content": "", "faults": []}
    report = None
    try:
        data = read_file(path, pool.limits.notebook_bytes)
        record["content"] = hashlib.sha256(data).hexdigest()
        options = {name: settings[name] for name in ("seed", "visible", "exercise", "book_url")}
        grading = grade_data(data, path.name, course, pool, **options)
        report = grading.report
        record |= {"status": GRADED, "exercise": report["exercise"]}
        record["faults"] = [one_line(fault) for fault in grading.faults]
    except NotebookError as error:
        record["problem"] = one_line(str(error))
        if path.stem in course.exercise_names():
            record["exercise"] = path.stem
    except (PoolError, IsolationError):
        raise
    except CourseError as error:
        record |= {"status": NOT_GRADED, "problem": one_line(str(error))}
    except Exception as error:
        record |= {"status": NOT_GRADED, "problem": one_line(f"the grader failed: {type(error).__name__}: {error}")}
    store(Path(job["folder"]), record | {"settings": settings["recorded"]}, report)
    return str(record["status"])


def main() -> None:
    """Serve until the input ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        settings = json.loads(sys.stdin.readline())
        course = Course(Path(settings["course"]))
        try:
            with open_pool(unsafe=settings["unsafe"]) as pool:
                _say(out, {"ready": pool.tier})
                for line in sys.stdin:
                    _say(out, {"status": grade_one(json.loads(line), settings, course, pool)})
        except IsolationError as error:
            _say(out, {"refused": one_line(str(error), 1000)})
        except PoolError as error:
            _say(out, {"broken": one_line(str(error))})


def _say(out: IO[str], answer: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
