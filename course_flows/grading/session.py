"""One student's code in its worker: started when needed, restarted when lost, asked with checked answers."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from course_flows.grading.pool import WireTimeoutError, Worker, WorkerPool
from course_flows.grading.protocol import (
    Bound,
    Failure,
    ProtocolError,
    Ref,
    Reply,
    Request,
    Table,
    Value,
    encode,
)
from course_flows.grading.text import one_line
from course_flows.grading.values import Packer, Unpacker

__all__ = ["Cell", "RefusedError", "Session", "StudentError", "WorkerLostError"]


class StudentError(Exception):
    """The student's code raised, or its worker was lost; the text is short and safe to show."""


class WorkerLostError(StudentError):
    """The worker ended, did not answer in time or answered with junk."""


class RefusedError(StudentError):
    """What the student's code returned is not of the declared kind."""


@dataclass(frozen=True)
class Cell:
    """One code cell of the rebuilt notebook."""

    name: str
    source: str


@dataclass
class Session:
    """The student's side of a grading, as the trusted process sees it.

    ``cell_errors`` says for each cell that did not run to its end what stopped it.
    """

    pool: WorkerPool
    cells: Sequence[Cell]
    cell_errors: dict[str, str] = field(default_factory=dict)
    lost_cells: set[str] = field(default_factory=set)
    generation: int = 0
    lost: int = 0
    _worker: Worker | None = None
    _deadline: float | None = None

    def request(
        self,
        action: str,
        target: Any = None,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        seed: int = 0,
        layout: Any = None,
    ) -> Any:
        """Ask the worker, which is started where there is none; return the unpacked answer."""
        worker = self._ready_worker()
        return self._ask(worker, action, target, args, kwargs or {}, seed, layout)

    def forget_objects(self) -> None:
        """Let the worker drop what handles of an earlier test refer to; one that cannot is replaced by a new one."""
        if self._worker is not None:
            with contextlib.suppress(WorkerLostError):
                self.request("reset")

    def close(self) -> None:
        """End the worker."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _ready_worker(self) -> Worker:
        """Return a worker in which every cell has run, leaving out cells that cost an earlier worker its life."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self.pool.limits.total_wall_seconds
        while self._worker is None:
            self._check_total()
            self._worker = self.pool.spawn()
            self.generation += 1
            try:
                self._run_cells(self._worker)
            except WorkerLostError:
                continue
        self._check_total()
        return self._worker

    def _check_total(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            self.close()
            limit = self.pool.limits.total_wall_seconds
            raise WorkerLostError(f"the whole notebook took longer than {limit:.0f} seconds")

    def _run_cells(self, worker: Worker) -> None:
        for cell in self.cells:
            if cell.name in self.lost_cells:
                continue
            try:
                self._ask(worker, "run_cell", None, [cell.name, cell.source], {}, 0, None)
            except WorkerLostError as error:
                self.lost_cells.add(cell.name)
                self.cell_errors[cell.name] = f"the cell stopped the process: {error}"
                raise
            except StudentError as error:
                self.cell_errors[cell.name] = str(error)

    def _ask(
        self,
        worker: Worker,
        action: str,
        target: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        seed: int,
        layout: Any,
    ) -> Any:
        call = secrets.randbits(62)
        packer = Packer(self._pack_handle)
        request = Request(
            call,
            action,
            packer.pack(target),
            [packer.pack(value) for value in args],
            Table(list(kwargs), [packer.pack(value) for value in kwargs.values()]),
            seed,
            Packer(_unexpected).pack(layout),
        )
        frame = encode(request, packer.bodies)
        try:
            worker.send(frame)
            message, views = worker.receive()
            if not isinstance(message, (Reply, Failure)) or message.call != call:
                raise ProtocolError("the answer does not belong to the call")
            if isinstance(message, Reply):
                return Unpacker(views, self._handle).unpack(message.value)
        except (ProtocolError, WireTimeoutError, EOFError) as error:
            raise WorkerLostError(self._lose(error)) from None
        raise StudentError(one_line(message.text))

    def _lose(self, error: Exception) -> str:
        """End the worker and say in words what became of it."""
        self.lost += 1
        worker, self._worker = self._worker, None
        ended = worker.end() if worker is not None else {"status": 0, "reason": ""}
        if ended["reason"] == "scratch":
            return "your code wrote more files, or larger ones, than it may"
        if ended["reason"] == "threads":
            return "your code started more threads than it may"
        if isinstance(error, WireTimeoutError):
            return "your code did not finish in time (is there an endless loop?)"
        if isinstance(error, ProtocolError):
            return "your code disturbed the connection to the grader"
        return "your code ended the process it runs in (an exit, too much memory or time, or a crash)"

    def _handle(self, number: int) -> Any:
        return Reference(self, self.generation, number)

    def _pack_handle(self, value: Any) -> Value:
        if not hasattr(type(value), "course_flows_wire"):
            return _unexpected(value)
        reference, method = value.course_flows_wire()
        if reference.session is not self or reference.generation != self.generation:
            raise WorkerLostError("the object was lost when your code ended its process")
        return Ref(reference.number) if method is None else Bound(reference.number, method)


@dataclass(frozen=True, eq=False)
class Reference:
    """The address of an object in a worker."""

    session: Session
    generation: int
    number: int


def _unexpected(value: Any) -> Value:
    raise TypeError(
        f"a call to the student's code takes None, bool, int, float, str, tensors, handles and lists, tuples or "
        f"dictionaries of these, found {type(value).__name__}"
    )
