"""Runs what prints numbers or gives verdicts as other machines would: python tests/elsewhere/run.py [--machine NAME …]

For each machine of `machines.py`: all pages, all solutions, the right and wrong answers of every exercise with their
recognized mistakes, right answers with a tenth of each tolerance, and the tests of the package.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from machines import MACHINES, Machine, kernels_under

ROOT = Path(__file__).resolve().parents[2]
DEALT = ["--dist", "loadfile", "--no-loadscope-reorder"]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *DEALT]
GRADING = ["tests/grading/test_bank.py", "tests/grading/test_margins.py", "tests/grading/test_environment.py"]


@dataclass
class Outcome:
    """What became of one part on one machine."""

    machine: Machine
    part: str
    fine: bool
    seconds: float


def commands(machine: Machine, processes: int) -> dict[str, list[str]]:
    """Return the command of each part; each is run in the root of the repository.

    Processes that wait for each other's threads take many times as long, so there is one where there are two threads.
    The grader computes with one thread in any case.
    """
    jobs = 1 if machine.settings.get("OMP_NUM_THREADS", "1") != "1" else processes
    rerun = f"python tests/elsewhere/run.py --machine {machine.name} --page {{path}}"
    pages = [sys.executable, "tests/elsewhere/pages.py", "--jobs", str(jobs), "--rerun", rerun]
    return {
        "pages": [*pages, *map(str, sorted(ROOT.glob("book/*.ipynb")))],
        "solutions": [*pages, *map(str, sorted(ROOT.glob("solutions/*.ipynb")))],
        "bank": [*PYTEST, "-n", str(processes), "-m", "not slow", *GRADING],
        "package": [*PYTEST, "-n", str(jobs), "-m", "not slow", "tests/package"],
    }


def in_turn() -> list[Machine]:
    """Return one machine, another one for each commit, so that a row of commits has seen all."""
    counted = subprocess.run(
        ["git", "rev-list", "--count", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    possible = [machine for machine in MACHINES[1:] if not machine.missing()]
    return [possible[int(counted or 0) % len(possible)]]


def run_machine(machine: Machine, parts: dict[str, list[str]]) -> list[Outcome]:
    """Run the parts with the settings of a machine; say what it computes with and what came of each."""
    environment = machine.environment()
    kernels = kernels_under(environment)
    print(f"\n== {machine.name}: {machine.stands_for}", flush=True)
    print(f"   torch {kernels['torch']}, numpy {kernels['numpy'] or 'plain'}, {kernels['threads']} threads", flush=True)
    outcomes = []
    for part, command in parts.items():
        print(f"-- {machine.name}: {part}", flush=True)
        started = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False)
        outcomes.append(Outcome(machine, part, done.returncode == 0, time.monotonic() - started))
    return outcomes


def table(outcomes: list[Outcome]) -> str:
    """Return a Markdown table, a row a machine and a column a part."""
    parts = list(dict.fromkeys(outcome.part for outcome in outcomes))
    lines = ["| machine | stands for | " + " | ".join(parts) + " |", "|" + "---|" * (2 + len(parts))]
    for machine in dict.fromkeys(outcome.machine.name for outcome in outcomes):
        own = {outcome.part: outcome for outcome in outcomes if outcome.machine.name == machine}
        stands_for = next(iter(own.values())).machine.stands_for
        cells = [f"{'same' if own[p].fine else 'DIFFERENT'}, {own[p].seconds:.0f} s" for p in parts]
        lines.append(f"| {machine} | {stands_for} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [machine.name for machine in MACHINES]
    parser.add_argument("--machine", action="append", choices=names, help="may be given repeatedly; default: all")
    parser.add_argument("--in-turn", action="store_true", help="one other machine, by the number of the commit")
    parser.add_argument("--part", action="append", choices=list(commands(MACHINES[0], 1)), help="default: all")
    parser.add_argument("--page", action="append", type=Path, help="only this notebook")
    parser.add_argument("--jobs", type=int, default=2, help="processes beside each other")
    chosen = parser.parse_args()
    machines = [machine for machine in MACHINES if machine.name in (chosen.machine or names)]
    outcomes: list[Outcome] = []
    for machine in in_turn() if chosen.in_turn else machines:
        if machine.missing():
            print(f"\n== {machine.name}: left out, {machine.missing()}")
            continue
        parts = commands(machine, chosen.jobs)
        if chosen.page:
            pages = parts["pages"][: parts["pages"].index("--rerun") + 2]
            parts = {"pages": [*pages, *(str(path.resolve()) for path in chosen.page)]}
        elif chosen.part:
            parts = {part: parts[part] for part in chosen.part}
        outcomes += run_machine(machine, parts)
    failed = sum(not outcome.fine for outcome in outcomes)
    print(f"\n{table(outcomes)}\n\n{len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
