"""What a submission says: its JSON is parsed in a locked worker, the grader sees typed values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from course_flows.grading.notebooks import NotebookError
from course_flows.grading.pool import WorkerPool
from course_flows.grading.session import Session, StudentError

__all__ = ["Submission", "read_submission"]


@dataclass(frozen=True)
class Submission:
    """What a submitted notebook says: the exercise it names and the ids and sources of its code cells."""

    exercise: str
    ids: list[str]
    sources: list[str]


def read_submission(data: bytes, pool: WorkerPool) -> Submission:
    """Return what a submitted notebook says; its JSON is parsed behind the lock, the grader sees typed values."""
    session = Session(pool, [])
    try:
        found = session.request("read_notebook", None, [torch.frombuffer(bytearray(data or b" "), dtype=torch.uint8)])
    except StudentError:
        raise NotebookError("The file is not a notebook that can be read: reading it took too much.") from None
    finally:
        session.close()
    if not _well_formed(found):
        raise NotebookError("The file is not a notebook that can be read.")
    if found["problem"]:
        raise NotebookError(found["problem"])
    return Submission(found["exercise"], found["ids"], found["sources"])


def _well_formed(found: Any) -> bool:
    if type(found) is not dict or set(found) != {"problem", "exercise", "ids", "sources"}:
        return False
    texts = [found["problem"], found["exercise"]]
    for key in ("ids", "sources"):
        if type(found[key]) is not list:
            return False
        texts += found[key]
    return all(type(text) is str for text in texts) and len(found["ids"]) == len(found["sources"])
