"""Grading a class: several grading processes side by side, each with a fork server that stays warm.

Every submission has a folder ``submissions/<key>`` of results in the report folder, written when it is graded, so that
a batch that was stopped goes on where it was; its ``report.json`` holds the same bytes as when it is graded alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_flows.grading.course import Course
from course_flows.grading.files import read_file, write_file
from course_flows.grading.isolation import IsolationError
from course_flows.grading.limits import Limits
from course_flows.grading.notebooks import NotebookError
from course_flows.grading.records import NOT_GRADED, grader_version, is_done, store
from course_flows.grading.report import json_text
from course_flows.grading.scratch import remove
from course_flows.grading.submissions import Submitted, find_submissions, parse_time, shard_of

__all__ = ["Batch", "grade_class"]

TRIES = 2
MARGIN_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What is to be graded, and how."""

    folder: Path
    report: Path
    course: Course
    seed: int = 0
    jobs: int = 1
    visible: bool = True
    exercise: str | None = None
    book_url: str = ""
    deadline: str = ""
    shard: str = "1/1"
    unsafe: bool = False

    def recorded(self) -> dict[str, Any]:
        """Return the settings that a verdict depends on."""
        names = ("seed", "visible", "exercise", "book_url", "unsafe")
        return {name: getattr(self, name) for name in names} | {"grader": grader_version(self.course)}


def grade_class(
    batch: Batch,
    progress: Callable[[int, int], None] = lambda done, total: None,
    announce: Callable[[str], None] = lambda tier: None,
) -> None:
    """Grade what is not yet graded, and write ``batch.json``, from which the pages of the class are made.

    ``progress`` is told after every submission how many are done, ``announce`` once, before any code of a student's
    runs, in which tier of isolation it will. Raises BatchError for a folder that is none,
    IsolationError where code cannot be isolated.
    """
    everything, ignored = find_submissions(batch.folder)
    part = shard_of(everything, batch.shard)
    recorded = batch.recorded()
    content = {
        "schema_version": 1,
        "settings": recorded,
        "deadline": parse_time(batch.deadline).isoformat() if batch.deadline else "",
        "shard": batch.shard,
        "ignored": ignored,
        "submissions": [submitted.row() for submitted in everything],
    }
    batch.report.mkdir(parents=True, exist_ok=True)
    write_file(batch.report / "batch.json", json_text(content))
    waiting = [submitted for submitted in part if not _done(batch, submitted, recorded)]
    done = len(part) - len(waiting)
    progress(done, len(part))
    if waiting:
        _Crew(batch, recorded, waiting, lambda count: progress(done + count, len(part)), announce).work()


def _done(batch: Batch, submitted: Submitted, recorded: dict[str, Any]) -> bool:
    try:
        data = read_file(batch.folder / submitted.file, Limits().notebook_bytes)
    except NotebookError:
        return False
    content = hashlib.sha256(data).hexdigest()
    return is_done(_results(batch, submitted), {"content": content, "settings": recorded})


def _results(batch: Batch, submitted: Submitted) -> Path:
    return batch.report.absolute() / "submissions" / submitted.key


@dataclass
class _Crew:
    """The threads of a batch, each with one grading process at a time."""

    batch: Batch
    recorded: dict[str, Any]
    waiting: list[Submitted]
    count: Callable[[int], None]
    announce: Callable[[str], None]
    announced: bool = False
    finished: int = 0
    refusal: str = ""
    stopped: bool = False
    processes: set[subprocess.Popen[str]] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        """Grade everything; on any exception, end every process first."""
        jobs: queue.SimpleQueue[Submitted] = queue.SimpleQueue()
        for submitted in self.waiting:
            jobs.put(submitted)
        scratch = Path(tempfile.mkdtemp(prefix="course-flows-"))
        scratch.chmod(0o711)
        number = max(1, min(self.batch.jobs, len(self.waiting)))
        threads = [threading.Thread(target=self._serve, args=(jobs, scratch), daemon=True) for _ in range(number)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            with self.lock:
                self.stopped = True
                for process in self.processes:
                    process.kill()
            for thread in threads:
                thread.join()
            remove(scratch)
        if self.refusal:
            raise IsolationError(self.refusal)

    def _serve(self, jobs: queue.SimpleQueue[Submitted], scratch: Path) -> None:
        process: subprocess.Popen[str] | None = None
        while not self.stopped:
            try:
                submitted = jobs.get_nowait()
            except queue.Empty:
                break
            for attempt in range(TRIES):
                process = process or self._start(scratch)
                if process is None:
                    return
                answer = self._ask(process, self._job(submitted))
                if "status" in answer:
                    break
                self._end(process)
                process = None
                if not self.stopped and attempt == TRIES - 1:
                    self._give_up(submitted, answer.get("broken", "the grading process ended"))
            with self.lock:
                if not self.stopped:
                    self.finished += 1
                    self.count(self.finished)
        if process is not None:
            self._end(process)

    def _start(self, scratch: Path) -> subprocess.Popen[str] | None:
        """Return a grading process that is ready, or None where code cannot be isolated or the batch was stopped."""
        settings: dict[str, Any] = {"recorded": self.recorded, "course": str(self.batch.course.root.absolute())}
        settings |= {"unsafe": self.batch.unsafe, "seed": self.batch.seed, "visible": self.batch.visible}
        settings |= {"exercise": self.batch.exercise, "book_url": self.batch.book_url}
        with self.lock:
            if self.stopped:
                return None
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-m", "course_flows.grading.batch_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=scratch,
                env=os.environ | {"TMPDIR": str(scratch)},
                start_new_session=True,
                text=True,
                encoding="utf-8",
            )
            self.processes.add(process)
        answer = self._ask(process, settings)
        if "ready" in answer:
            with self.lock:
                if not self.announced:
                    self.announced = True
                    self.announce(answer["ready"])
            return process
        self._end(process)
        with self.lock:
            if not self.stopped:
                self.refusal = (
                    answer.get("refused") or answer.get("broken") or "A grading process could not be started."
                )
                self.stopped = True
        return None

    def _ask(self, process: subprocess.Popen[str], message: dict[str, Any]) -> dict[str, Any]:
        """Send a line and return the answering one; nothing where the process ended or took far too long."""
        assert process.stdin is not None
        assert process.stdout is not None
        limits = Limits()
        seconds = limits.total_wall_seconds + limits.visible_wall_seconds + MARGIN_SECONDS
        alarm = threading.Timer(seconds, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer
        except (OSError, ValueError):
            return {}
        finally:
            alarm.cancel()

    def _end(self, process: subprocess.Popen[str]) -> None:
        """Let a process leave, and end it where it does not."""
        with contextlib.suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        with self.lock:
            self.processes.discard(process)

    def _job(self, submitted: Submitted) -> dict[str, str]:
        path = self.batch.folder.absolute() / submitted.file
        return {"path": str(path), "folder": str(_results(self.batch, submitted))}

    def _give_up(self, submitted: Submitted, problem: str) -> None:
        record = {"status": NOT_GRADED, "exercise": "", "problem": problem, "content": "", "faults": []}
        store(_results(self.batch, submitted), record | {"settings": self.recorded}, None)
