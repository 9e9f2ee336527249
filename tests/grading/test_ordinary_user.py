"""Both tiers as an ordinary user, whoever runs the tests: root starts the grader as nobody, others as themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from elsewhere import copy_for_all, open_folder, python_elsewhere

import course_flows

NOBODY = 65534
HERE = Path(__file__).parent
ATTACKS = (
    "kill_parent",
    "fork",
    "thread_bomb",
    "write_result",
    "ptrace",
    "walk_for_suites",
    "patched_asserts",
    "takes_over_the_worker",
    "sockets_of_every_kind",
)


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What a grader without privileges saw in each tier."""
    with open_folder() as folder:
        python, tests, user = Path(sys.executable), HERE, {}
        home = folder / "home"
        home.mkdir()
        if os.getuid() == 0:  # nobody may be unable to enter the folders of Python and of the repository
            python = python_elsewhere(folder, Path(course_flows.__file__).parent)
            tests = copy_for_all(HERE, folder / "grading")
            user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            os.chown(home, NOBODY, NOBODY)
        environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
        command = [str(python), "-B", str(tests / "ordinary_user.py"), *ATTACKS]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home, env=environment, **user)
        assert done.returncode == 0, done.stderr[-4000:]
        assert list(home.iterdir()) == []
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_grader_has_no_privileges(seen: dict[str, Any]) -> None:
    assert seen["user"] != 0
    assert os.getuid() != 0 or (seen["user"], seen["groups"]) == (NOBODY, [])


@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
def test_an_ordinary_user_grades_and_is_safe(tier: str, seen: dict[str, Any]) -> None:
    found = seen["tiers"][tier]
    if tier == "namespaces" and "refused" in found:
        pytest.skip(f"an ordinary user cannot have the tier {tier} on this machine: {found['refused']}")
    assert found.pop("right") == [[3, "passed"], [2, "passed"]]
    assert found.pop("wrong") == [[0, "not run"], [2, "not run"]]
    assert found == dict.fromkeys(ATTACKS, "held")
