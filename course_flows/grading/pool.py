"""The trusted end of the fork server: starts it, inside bubblewrap where wanted, and gets workers from it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from course_flows.grading.bubblewrap import bubblewrap_command
from course_flows.grading.environment import clean_environment
from course_flows.grading.limits import Limits
from course_flows.grading.protocol import (
    PREFIX,
    Message,
    ProtocolError,
    Ready,
    decode,
    sizes_of_prefix,
)
from course_flows.grading.scratch import remove

__all__ = ["PoolError", "WireTimeoutError", "Worker", "WorkerPool"]

START_SECONDS = 120.0
STEP_SECONDS = 0.5


class PoolError(Exception):
    """The fork server or a worker cannot be started as it was wanted."""


class WireTimeoutError(Exception):
    """A worker did not answer in time."""


class WorkerPool:
    """A fork server and the workers that it made.

    ``tier`` is ``namespaces`` (bubblewrap around the lock), ``landlock`` (the lock) or ``none``.
    """

    def __init__(self, tier: str, limits: Limits | None = None) -> None:
        self.tier = tier
        self.limits = limits or Limits()
        self._folder = Path(tempfile.mkdtemp(prefix="course-flows-"))
        self._folder.chmod(0o711)
        self._control, remote = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = open(self._folder / "server.log", "w+b")  # noqa: SIM115  (open as long as the pool)
        try:
            self._process = subprocess.Popen(
                self._command(remote.fileno()),
                pass_fds=[remote.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                cwd=self._folder,
                env=clean_environment(self._folder),
            )
        except OSError as error:
            remove(self._folder)
            raise PoolError(f"the fork server cannot be started: {error}") from None
        finally:
            remote.close()
        try:
            self._receive(START_SECONDS)
        except PoolError:
            self.close()
            raise

    def _command(self, fd: int) -> list[str]:
        scratch = "/scratch" if self.tier == "namespaces" else str(self._folder)
        python = [sys.executable, "-I", "-B", "-m", "course_flows.grading.server", str(fd), scratch]
        return bubblewrap_command(python, self.limits) if self.tier == "namespaces" else python

    def _receive(self, seconds: float) -> dict[str, Any]:
        readable, _, _ = select.select([self._control], [], [], seconds)
        data = self._control.recv(1 << 16) if readable else b""
        if not data:
            self._errors.seek(0)
            said = self._errors.read(4000).decode("utf-8", "replace").strip().splitlines()
            raise PoolError(f"the fork server did not answer ({said[-1] if said else 'it said nothing'})")
        answer: dict[str, Any] = json.loads(data)
        return answer

    def order(self, order: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
        """Send one order to the server and return its answer."""
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], fds)
            return self._receive(START_SECONDS)
        except OSError as error:
            raise PoolError(f"the fork server is gone: {error}") from None

    def spawn(self, limits: Limits | None = None) -> Worker:
        """Return a new worker behind its lock; raise PoolError where the lock cannot be set."""
        limits = limits or self.limits
        request, reply, output = os.pipe(), os.pipe(), os.pipe()
        try:
            order = {"do": "spawn", "limits": msgspec.to_builtins(limits), "lock": self.tier != "none"}
            number = self.order(order, (request[0], reply[1], output[1]))["worker"]
        except BaseException:
            for fd in (request[1], reply[0], output[0]):
                os.close(fd)
            raise
        finally:
            for fd in (request[0], reply[1], output[1]):
                os.close(fd)
        worker = Worker(self, number, request[1], reply[0], output[0], limits)
        try:
            ready, _ = worker.receive()
        except (ProtocolError, WireTimeoutError, EOFError) as error:
            worker.end()
            raise PoolError(f"a worker did not start ({type(error).__name__})") from None
        if not isinstance(ready, Ready) or ready.problem:
            worker.end()
            raise PoolError(ready.problem if isinstance(ready, Ready) else "a worker did not say that it is ready")
        worker.layers = ready.layers
        return worker

    def close(self) -> None:
        """End the server and every worker, and remove their folders."""
        self._control.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        remove(self._folder)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Worker:
    """One worker process, seen from outside: frames go in, frames come out, what it prints is thrown away."""

    def __init__(self, pool: WorkerPool, number: int, request: int, reply: int, output: int, limits: Limits) -> None:
        self.layers: list[str] = []
        self.limits = limits
        self._pool = pool
        self._number = number
        self._request = request
        self._reply = reply
        self._output: int | None = output
        self._ended: dict[str, Any] | None = None
        for fd in (request, reply, output):
            os.set_blocking(fd, False)

    def send(self, frame: bytes) -> None:
        """Send a frame, within the limits of one call."""
        clock = _CallClock(self)
        view = memoryview(frame)
        while view:
            _, writable = self._wait([], [self._request], clock)
            if writable:
                try:
                    view = view[os.write(self._request, view) :]
                except BrokenPipeError:
                    raise EOFError from None

    def receive(self) -> tuple[Message, list[memoryview]]:
        """Return the next message, within the limits of one call."""
        clock = _CallClock(self)
        header_bytes, body_bytes = sizes_of_prefix(self._read(PREFIX.size, clock), self.limits.reply_bytes)
        return decode(self._read(header_bytes, clock), self._read(body_bytes, clock))

    def _read(self, size: int, clock: _CallClock) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        done = 0
        while done < size:
            readable, _ = self._wait([self._reply], [], clock)
            if readable:
                count = os.readv(self._reply, [view[done:]])
                if count == 0:
                    raise EOFError
                done += count
        return data

    def _wait(self, read: list[int], write: list[int], clock: _CallClock) -> tuple[bool, bool]:
        """Wait until the wire is ready; drain what the worker prints; raise where its time is over."""
        outputs = [] if self._output is None else [self._output]
        readable, writable, _ = select.select(read + outputs, write, [], STEP_SECONDS)
        if self._output is not None and self._output in readable:
            with contextlib.suppress(BlockingIOError):
                if not os.read(self._output, 1 << 16):
                    os.close(self._output)
                    self._output = None
        clock.check()
        return bool(read) and read[0] in readable, bool(writable)

    def cpu_seconds(self) -> float:
        """Return the CPU time that the worker has used."""
        return float(self._pool.order({"do": "cpu", "worker": self._number})["cpu"])

    def end(self) -> dict[str, Any]:
        """Kill the worker; return its exit status and, where the server killed it before, the reason."""
        if self._ended is None:
            for fd in (self._request, self._reply, self._output):
                if fd is not None:
                    os.close(fd)
            self._ended = self._pool.order({"do": "end", "worker": self._number})
        return self._ended


class _CallClock:
    """Counts the time of one call: CPU seconds of the worker decide, wall seconds are generous."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._start = self._next_look = time.monotonic()
        self._next_look += STEP_SECONDS
        self._cpu_at_first_look: float | None = None

    def check(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + STEP_SECONDS
        cpu = self._worker.cpu_seconds()
        if self._cpu_at_first_look is None:
            self._cpu_at_first_look = cpu - min(STEP_SECONDS, cpu)
        limits = self._worker.limits
        if cpu - self._cpu_at_first_look > limits.call_cpu_seconds or now - self._start > limits.call_wall_seconds:
            raise WireTimeoutError
