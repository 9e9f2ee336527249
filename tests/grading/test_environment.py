"""What of the environment reaches the processes that hold a student's code: the choice of kernels, nothing else."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from course_flows.grading.course import Course
from course_flows.grading.environment import KERNEL_SETTINGS, clean_environment
from course_flows.grading.isolation import open_pool
from course_flows.grading.session import Cell, Session
from course_flows.grading.visible import Visible, run_visible

CELL = """
import os, torch
def kernels():
    return torch.backends.cpu.get_cpu_capability()
def threads():
    return torch.get_num_threads()
def variables():
    return sorted(os.environ)
"""


def ask(name: str, pool) -> object:
    session = Session(pool, [Cell("answer", CELL)])
    try:
        return session.request("call", name, [], {}, 0)
    finally:
        session.close()


def test_only_the_choice_of_kernels_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plain = clean_environment(tmp_path)
    for name in (*KERNEL_SETTINGS, "TOKEN", "OMP_NUM_THREADS", "PYTHONPATH"):
        monkeypatch.setenv(name, "set")
    assert clean_environment(tmp_path) == plain | dict.fromkeys(KERNEL_SETTINGS, "set")
    assert plain["OMP_NUM_THREADS"] == "1"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the setting chooses kernels of x86-64 only")
def test_workers_compute_with_the_kernels_that_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with open_pool() as pool:
        assert ask("kernels", pool) == "DEFAULT"
        assert ask("threads", pool) == 1
        assert "ATEN_CPU_CAPABILITY" in ask("variables", pool)


def test_workers_compute_with_the_graders_kernels(best_pool) -> None:
    assert ask("kernels", best_pool) == torch.backends.cpu.get_cpu_capability()
    assert set(ask("variables", best_pool)) <= set(clean_environment(Path("/")))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the setting chooses kernels of x86-64 only")
def test_the_notebook_of_the_visible_stage_has_them_too(
    mini: Course, best_pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    notebook = mini.solution("00_mini")
    check = next(cell for cell in notebook["cells"] if cell["id"] == "scale-density-check")
    test = "assert torch.backends.cpu.get_cpu_capability() == 'DEFAULT', 'other kernels'\n"
    check["source"] = test + "".join(check["source"])
    assert run_visible(notebook, best_pool.tier)["scale-density"] == Visible("passed")
