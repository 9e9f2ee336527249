"""Grades a right, a wrong and hostile answers in each tier and prints what it saw, as JSON; for test_ordinary_user.

Run as ``python ordinary_user.py ATTACK …`` by a user without privileges, who runs many threads already, as on desktops.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

from hostile_bank import RIGHT, WRONG, World, load_bank, set_cell
from test_hostile import ATTACKED, LIMITS, TIERS, run_attack, watched_world

from course_flows.grading.grade import grade_file
from course_flows.grading.pool import PoolError, WorkerPool

OTHER_THREADS = 600


def main() -> None:
    """Grade everything in each tier."""
    threading.stack_size(1 << 16)
    end = threading.Event()
    for _ in range(OTHER_THREADS):
        threading.Thread(target=end.wait).start()
    try:
        with watched_world() as world:
            seen = {tier: in_tier(tier, world) for tier in TIERS}
    finally:
        end.set()
    sys.stdout.write(json.dumps({"user": os.getuid(), "groups": os.getgroups(), "tiers": seen}))


def in_tier(tier: str, world: World) -> dict[str, Any]:
    """Return what grading in one tier found."""
    try:
        pool = WorkerPool(tier, LIMITS)
    except PoolError as error:
        return {"refused": str(error)}
    with pool:
        try:
            pool.spawn().end()
        except PoolError as error:
            return {"refused": str(error)}
        found: dict[str, Any] = {"right": rows(RIGHT, True, world, pool), "wrong": rows(WRONG, False, world, pool)}
        for attack in load_bank():
            if attack.name in sys.argv[1:]:
                try:
                    run_attack(attack, world, pool)
                    found[attack.name] = "held"
                except Exception as error:
                    found[attack.name] = f"{type(error).__name__}: {error}"
        return found


def rows(answer: str, visible: bool, world: World, pool: WorkerPool) -> list[list[Any]]:
    """Return the points and the visible result of each task of a notebook with this answer."""
    notebook = world.notebook()
    set_cell(notebook, ATTACKED, answer)
    path = world.inbox / "ordinary.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    report = grade_file(path, world.course, pool, visible=visible).report
    return [[task["points"], task["visible"]] for task in report["tasks"]]


if __name__ == "__main__":
    main()
