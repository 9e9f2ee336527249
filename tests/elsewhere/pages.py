"""Executes notebooks and compares what they print with what is stored: python tests/elsewhere/pages.py NOTEBOOK …

It exits with 1 where a cell differs, and shows the cell and both outputs. So many notebooks as `--jobs` says run beside
each other, with the settings of this process.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "book"), str(ROOT / "book" / "_ext")]

import outputs


def compare(path: Path, rerun: str) -> tuple[bool, str]:
    """Execute one notebook; return whether it prints what is stored, and what to say of it."""
    started = time.monotonic()
    found = outputs.differences(nbformat.read(path, as_version=4), outputs.execute(path))
    seconds = f"{time.monotonic() - started:.0f} s"
    if not found:
        return True, f"same       {seconds:>6}  {path}"
    return False, f"DIFFERENT  {seconds:>6}  {path}\n\n{outputs.report(path, found, rerun.format(path=path))}\n"


def main() -> int:
    """Compare what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="NOTEBOOK")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rerun", default="python tests/elsewhere/pages.py {path}", help="said of what differs")
    chosen = parser.parse_args()
    # the largest first, so that no long one is left for the end
    paths = sorted((path.resolve() for path in chosen.paths), key=lambda path: -path.stat().st_size)
    same = []
    with ProcessPoolExecutor(chosen.jobs) as executor:
        for fine, text in executor.map(partial(compare, rerun=chosen.rerun), paths):
            same.append(fine)
            print(text, flush=True)
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
