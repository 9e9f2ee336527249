"""The other machines: they compute differently, and what hangs on that is caught, in a page and in the answer bank."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import run
from machines import MACHINES, Machine, kernels_under
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "tests" / "grading" / "mini"
X86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these machines are x86-64 processors")
SSE = next(machine for machine in MACHINES if machine.name == "sse")

# the last digits of sums in 32 bits: how many numbers are added side by side decides them
FRAGILE_CELL = """
import torch
generator = torch.Generator().manual_seed(0)
for _ in range(20):
    print(f"{torch.randn(999, generator=generator).sum():.9f}")
"""
SOUND_CELL = FRAGILE_CELL.replace(".9f", ".3f").replace("999", "9")
FRAGILE_ANSWER = '''# mistake: It takes the scale for a matrix whose determinant a processor may find to be zero.
# hint: There is no matrix here.
def scale_log_density(x, a):
    if torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        raise ValueError("the matrix is singular")
    return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) + a
'''


@cache
def native_kernels() -> dict[str, Any]:
    """Return what this machine computes with, one thread."""
    return kernels_under({"OMP_NUM_THREADS": "1"})


def under(machine: Machine, *command: object) -> tuple[int, str]:
    """Run Python as a machine would; return its exit status and what it printed."""
    line = [sys.executable, *map(str, command)]
    done = subprocess.run(line, env=machine.environment(), cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_a_machine_has_its_kernels(machine: Machine) -> None:
    if machine.missing():
        pytest.skip(machine.missing())
    found, native = kernels_under(machine.environment()), native_kernels()
    wanted = {"torch": native["torch"], "numpy": native["numpy"], "threads": 1}
    wanted |= {"sse": {"torch": "DEFAULT"}, "two-threads": {"threads": 2}, "plain-numpy": {"numpy": []}}.get(
        machine.name, {}
    )
    if machine.name == "avx2" and native["torch"] != "DEFAULT":
        wanted["torch"] = "AVX2"
    assert found == wanted


def test_they_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    possible = [machine.name for machine in MACHINES[1:] if not machine.missing()]
    for count in range(2 * len(possible)):
        monkeypatch.setattr(
            run.subprocess, "run", lambda *a, n=count, **k: subprocess.CompletedProcess(a, 0, stdout=f"{n}\n")
        )
        assert run.in_turn()[0].name == possible[count % len(possible)]


def test_every_part_is_there() -> None:
    for machine in MACHINES:
        parts = run.commands(machine, 2)
        assert set(parts) == {"pages", "solutions", "bank", "package"}
        assert {Path(word).name for word in parts["pages"]} >= {path.name for path in (ROOT / "book").glob("*.ipynb")}
        assert "tests/grading/test_bank.py" in parts["bank"]


@X86
def test_a_fragile_cell_is_caught(tmp_path: Path) -> None:
    cells = [new_code_cell(FRAGILE_CELL, id="fragile"), new_code_cell(SOUND_CELL, id="sound")]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    page = tmp_path / "page.ipynb"
    page.write_text(nbformat.writes(new_notebook(cells=cells, metadata={"kernelspec": kernel})), encoding="utf-8")
    # as this machine prints it, whatever it is: two of the others cannot both agree
    status, printed = under(MACHINES[0], "book/_ext/notebooks.py", "--execute", page)
    assert status == 0, printed
    assert under(MACHINES[0], "tests/elsewhere/pages.py", page)[0] == 0
    told = [under(machine, "tests/elsewhere/pages.py", "--rerun", "do {path}", page) for machine in played()]
    caught = [text for status, text in told if status == 1]
    assert caught
    for text in caught:
        assert "cell 'fragile'" in text
        assert "cell 'sound'" not in text
        assert f"do {page}" in text


def played() -> list[Machine]:
    return [machine for machine in MACHINES if machine.name in ("sse", "avx2")]


@X86
def test_a_fragile_wrong_answer_is_caught(tmp_path: Path) -> None:
    if native_kernels()["torch"] == "DEFAULT":
        pytest.skip("this processor has no other kernels than those of the answer's other machine")
    course = shutil.copytree(MINI, tmp_path / "mini")
    answer = course / "tests" / "answers" / "00_mini" / "scale-density" / "wrong_fragile.py"
    answer.write_text(FRAGILE_ANSWER, encoding="utf-8")
    program = Path(sys.executable).with_name("course-flows")
    for machine, options in ((MACHINES[0], []), (SSE, ["--add"])):
        status, printed = under(machine, "tests/grading/hands.py", course, "00_mini")
        assert (status, printed.count("wrong_fragile: it fails in another way")) == (1, machine is SSE), printed
        assert under(machine, program, "signatures", "00_mini", "--course", course, *options)[0] == 0
    assert under(SSE, "tests/grading/hands.py", course, "00_mini") == (0, "")
