"""What a hidden suite can ask of a student's notebook, and what it cannot be told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from course_flows.grading.pool import WorkerPool
from course_flows.grading.remote import Handle, Student
from course_flows.grading.session import Cell, Session, StudentError, WorkerLostError
from course_flows.grading.suite import boolean, handle, integer, scalar, tensor

SOURCE = """
import torch, random, numpy
values = {"one": 1, "true": True, "half": 0.5, "none": None, "text": "x", "inf": float("inf"),
          "zero_d": torch.tensor(2.5), "whole": torch.tensor(3), "flag": torch.tensor(True), "row": torch.zeros(1, 3)}
def give(name): return values[name]
def echo(x): return x
def draw(): return torch.rand(2).double()
def draws(): return (torch.rand(()).item(), random.random(), float(numpy.random.rand()))
def spoil(x):
    x += 1
    return x
class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(2))
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("count", torch.tensor(0))
    def forward(self, x, scale=1.0): return scale * x @ self.weight, x
    def __bool__(self): return True
    def __eq__(self, other): return True
    __hash__ = torch.nn.Module.__hash__
def leave(): import os; os._exit(0)
def without_gradients():
    torch.set_grad_enabled(False)
    return 1
def gradients_are_on(): return torch.is_grad_enabled()
from typing import NamedTuple
class Pair(NamedTuple):
    points: object
    rest: object
class Liar(tuple):
    def __iter__(self): return iter([7, 7, 7])
    def __len__(self): return 3
def pair(kind):
    points, rest = torch.ones(2), Module()
    return {"named": Pair(points, rest), "liar": Liar((points, rest)), "list": [points, rest]}[kind]
def signs(): return torch.linalg.slogdet(-torch.eye(3))
def numbers(): return Pair(Pair(1, 2), [Liar((3,))])
"""


@pytest.fixture
def session(best_pool: WorkerPool) -> Iterator[Session]:
    opened = Session(best_pool, [Cell("main", SOURCE), Cell("broken", "1 / 0")])
    yield opened
    opened.close()


@pytest.fixture
def student(session: Session) -> Student:
    return Student(session, "test_name", 0)


def test_values_arrive_as_declared(student: Student) -> None:
    assert student.give("one", returns=integer()) == 1
    assert student.give("whole", returns=integer()) == 3
    assert student.give("zero_d", returns=scalar()) == 2.5
    assert student.give("one", returns=scalar()) == 1.0
    assert student.give("true", returns=boolean()) is True
    assert student.give("flag", returns=boolean()) is True
    assert student.give("inf", returns=scalar(finite=False)) == float("inf")
    assert student.give("row", returns=tensor(1, 3, dtype=torch.float32)).tolist() == [[0.0, 0.0, 0.0]]
    assert student.echo((1, 2.5), returns=(integer(), scalar())) == (1, 2.5)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("true", integer()),
        ("true", scalar()),
        ("one", boolean()),
        ("half", integer()),
        ("text", scalar()),
        ("none", handle()),
        ("none", tensor()),
        ("inf", scalar()),
        ("row", tensor(3, dtype=torch.float32)),
        ("row", tensor(1, 3)),
        ("row", (scalar(), scalar())),
        ("zero_d", tensor(1, dtype=torch.float32)),
    ],
)
def test_values_that_are_not_as_declared(name: str, spec: object, student: Student) -> None:
    with pytest.raises(StudentError, match=r"must|have"):
        student.give(name, returns=spec)


def test_a_named_tuple_is_a_tuple(student: Student) -> None:
    one = tensor(dtype=torch.float32)
    sign, log_abs = student.signs(returns=(one, one))
    assert (sign.item(), log_abs.item()) == (-1.0, 0.0)
    assert student.numbers(returns=((integer(), integer()), ((integer(),),))) == ((1, 2), ((3,),))
    for kind in ("named", "liar", "list"):
        points, module = student.pair(kind, returns=(tensor(2, dtype=torch.float32), handle()))
        assert points.tolist() == [1.0, 1.0]
        assert set(student.parameters(module)) == {"weight", "unused"}


def test_a_call_without_a_declared_return_is_the_suites_error(student: Student) -> None:
    with pytest.raises(TypeError, match="declares no return"):
        student.give("one")
    with pytest.raises(TypeError, match="takes None"):
        student.echo(object(), returns=scalar())


def test_missing_names_and_broken_cells_are_named(student: Student, session: Session) -> None:
    with pytest.raises(StudentError, match="does not define nothing"):
        student.nothing(returns=scalar())
    assert session.cell_errors == {"broken": "ZeroDivisionError: division by zero (line 1 of the cell broken)"}


def test_every_call_has_its_seed(student: Student, session: Session) -> None:
    first, second = student.draw(returns=tensor(2)), student.draw(returns=tensor(2))
    assert not torch.equal(first, second)
    again = Student(session, "test_name", 0)
    assert torch.equal(again.draw(returns=tensor(2)), first)
    other = Student(session, "test_name", 1)
    assert not torch.equal(other.draw(returns=tensor(2)), first)
    spec = (scalar(), scalar(), scalar())
    assert student.draws(returns=spec, seed=5) == student.draws(returns=spec, seed=5)


def test_gradients_are_on_in_every_call(student: Student) -> None:
    assert student.without_gradients(returns=integer()) == 1
    assert student.gradients_are_on(returns=boolean()) is True


def test_arguments_are_copies(student: Student) -> None:
    x = torch.zeros(3, dtype=torch.float64)
    assert student.spoil(x, returns=tensor(3)).tolist() == [1.0, 1.0, 1.0]
    assert x.tolist() == [0.0, 0.0, 0.0]


def test_handles_answer_nothing_themselves(student: Student) -> None:
    module = student.Module(returns=handle())
    assert isinstance(module, Handle)
    comparisons = (lambda h: h == 1, lambda h: h != 1, lambda h: h < 1, lambda h: 1 in h)
    for question in (bool, float, int, len, iter, *comparisons):
        with pytest.raises(TypeError):
            question(module)


def test_modules(student: Student) -> None:
    module = student.Module(returns=handle())
    x = torch.tensor([[1.0, 2.0]])
    spec = (tensor(1, 2, dtype=torch.float32), tensor(1, 2, dtype=torch.float32))
    assert module.forward(x, scale=2.0, returns=spec)[0].tolist() == [[2.0, 4.0]]
    assert set(student.parameters(module)) == {"weight", "unused"}
    student.set_parameters(module, {"weight": 3 * torch.eye(2), "unused": torch.ones(1)})
    assert module.forward(x, returns=spec)[0].tolist() == [[3.0, 6.0]]
    assert student.state_dict(module)["count"].item() == 0
    with pytest.raises(StudentError, match="shape"):
        student.set_parameters(module, {"weight": torch.eye(3), "unused": torch.ones(1)})
    with pytest.raises(StudentError, match="no entry bias"):
        student.parameters(module)["bias"]
    found = student.gradients(module, "forward", x, output=0)
    assert found["unused"] is None
    assert found["weight"] is not None
    assert found["weight"].tolist() == [[1.0, 1.0], [2.0, 2.0]]
    slope = student.input_gradient(
        module.bound("forward"), x, output=0, scale=2.0, returns=tensor(1, 2, dtype=torch.float32)
    )
    assert slope.tolist() == [[6.0, 6.0]]


def test_a_lost_worker_is_replaced_and_its_objects_are_gone(student: Student, session: Session) -> None:
    module = student.Module(returns=handle())
    with pytest.raises(WorkerLostError, match="ended the process"):
        student.leave(returns=scalar())
    assert student.give("one", returns=integer()) == 1
    with pytest.raises(StudentError, match="lost"):
        student.parameters(module)
    assert session.lost == 1


def test_a_killed_grader_leaves_no_worker(tmp_path: Path) -> None:
    script = """
import sys, time
from course_flows.grading.pool import WorkerPool
from course_flows.grading.session import Cell, Session
pool = WorkerPool("landlock")
session = Session(pool, [])
session.request("run_cell", None, ["a", "def spin():\\n    while True: pass"])
print(pool._process.pid, flush=True)
session.request("call", "spin")
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    with process.stdout:
        server = int(process.stdout.readline())
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    assert len(children) == 1
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in (server, *children)):
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in (server, *children))
