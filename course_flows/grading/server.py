"""The fork server: imports torch once, then forks one locked worker for each request.

It is trusted, never holds a student's code, and ends when the grader's end of its control socket closes.
Run as ``python -m course_flows.grading.server FD SCRATCH`` by `course_flows.grading.pool`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from course_flows.grading import worker
from course_flows.grading.confine import LockError, lock_worker
from course_flows.grading.environment import clean_environment
from course_flows.grading.limits import Limits
from course_flows.grading.protocol import Ready, encode
from course_flows.grading.scratch import outgrown, remove

__all__ = ["main"]

POLL_SECONDS = 0.25


def warm_up() -> None:
    """Do once what is slow the first time, with one thread, so that every fork has it."""
    torch.set_num_threads(1)
    weight = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(weight.parameters())
    weight(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    torch.linalg.slogdet(torch.eye(2))
    torch.func.vmap(torch.func.jacrev(torch.sin))(torch.ones(2))
    np.linalg.qr(np.eye(2))


class Child:
    """One worker: its process, its scratch folder and why it was ended."""

    def __init__(self, pid: int, scratch: Path, limits: Limits) -> None:
        self.pid = pid
        self.scratch = scratch
        self.limits = limits
        self.reason = ""

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far; the process is not reaped yet, so its number is still its own."""
        try:
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def threads(self) -> int:
        """Return how many threads the worker runs; the kernel holds root to no such limit."""
        try:
            return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[17])
        except (OSError, IndexError):
            return 0

    def watch(self) -> None:
        """End the worker where its scratch folder or the number of its threads outgrows the limits."""
        if self.reason:
            return
        if outgrown(self.scratch, self.limits):
            self.reason = "scratch"
        elif self.threads() > self.limits.threads:
            self.reason = "threads"
        if self.reason:
            os.kill(self.pid, signal.SIGKILL)

    def end(self) -> dict[str, Any]:
        """Kill the worker, collect it, remove its scratch folder."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        remove(self.scratch)
        return {"status": os.waitstatus_to_exitcode(status), "reason": self.reason}


class Server:
    """Answers the grader's control messages, one at a time."""

    def __init__(self, control: socket.socket, scratch: Path) -> None:
        self.control = control
        self.scratch = scratch
        self.children: dict[int, Child] = {}
        self.last = 0

    def run(self) -> None:
        """Serve until the grader goes away."""
        self.control.send(b'{"ready": true}')
        while True:
            timeout = POLL_SECONDS if self.children else None
            readable, _, _ = select.select([self.control], [], [], timeout)
            for child in self.children.values():
                child.watch()
            if not readable:
                continue
            data, fds, _, _ = socket.recv_fds(self.control, 1 << 16, 3)
            if not data:
                break
            reply = self.answer(json.loads(data), fds)
            self.control.send(json.dumps(reply).encode())
        for child in self.children.values():
            child.end()

    def answer(self, order: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Do one order: spawn a worker, tell its CPU time, or end it."""
        if order["do"] == "spawn":
            return self.spawn(order, fds)
        child = self.children[order["worker"]]
        if order["do"] == "cpu":
            return {"cpu": child.cpu_seconds()}
        return self.children.pop(order["worker"]).end()

    def spawn(self, order: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        """Fork a worker that reads requests from the first descriptor and writes to the other two."""
        limits = msgspec.convert(order["limits"], Limits)
        self.last += 1
        scratch = self.scratch / f"worker-{self.last}"
        scratch.mkdir(mode=0o700)
        pid = os.fork()
        if pid == 0:
            _become_worker(fds, scratch, limits, order["lock"])
        for fd in fds:
            os.close(fd)
        self.children[self.last] = Child(pid, scratch, limits)
        return {"worker": self.last}


def _become_worker(fds: list[int], scratch: Path, limits: Limits, lock: bool) -> None:
    """In the forked child: take the descriptors, set the lock, say so, then serve; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        read_fd, write_fd = _take_descriptors(fds)
        os.chdir(scratch)
        environment = clean_environment(scratch)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = str(scratch)  # else it would try by removing a file, which the lock forbids
        layers: list[str] = []
        problem = ""
        if lock:
            try:
                layers = lock_worker(scratch, limits)
            except LockError as error:
                problem = str(error)
        os.write(write_fd, encode(Ready(layers, problem)))
        if not problem:
            worker.serve(read_fd, write_fd, limits.reply_bytes)
            code = 0
    finally:
        os._exit(code)


def _take_descriptors(fds: list[int]) -> tuple[int, int]:
    """Put the wire at 3 and 4, the output at 1 and 2, nothing at 0, and close everything else."""
    high = [os.dup2(fd, 200 + n, inheritable=False) for n, fd in enumerate(fds)]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(high[2], 1)
    os.dup2(high[2], 2)
    os.dup2(high[0], 3)
    os.dup2(high[1], 4)
    os.closerange(5, 4096)
    return 3, 4


def main() -> None:
    """Start serving on the descriptor named on the command line."""
    sys.dont_write_bytecode = True
    control = socket.socket(fileno=int(sys.argv[1]))
    warm_up()
    Server(control, Path(sys.argv[2])).run()


if __name__ == "__main__":
    main()
