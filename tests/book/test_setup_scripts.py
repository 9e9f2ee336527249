"""What `make` says when something is missing, and that README and workflow name only what there is."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from stand_ins import program, run

OLD_PYTHON = 'case "$*" in -V) echo Python 3.8.1;; *version_info*) exit 1;; esac'


@pytest.mark.parametrize(
    ("python", "words"),
    [
        (None, "python3 is missing"),
        (OLD_PYTHON, "Python 3.11 or newer is needed and python3 is 3.8.1"),
        ('case "$*" in *ensurepip*) exit 1;; esac', "python3 has no venv module"),
    ],
)
def test_setup_says_in_one_sentence_what_is_missing(root, bare_path, python, words):
    if python:
        program(bare_path, "python3", python)
    status, printed = run(root / ".ci" / "env", bare_path)
    assert status == 1
    assert words in printed
    assert len(printed.strip().splitlines()) == 1


def test_setup_asks_for_git(root, bare_path):
    (bare_path / "git").unlink()
    status, printed = run(root / ".ci" / "env", bare_path)
    assert status == 1
    assert "git is missing" in printed


def test_setup_asks_for_a_build_of_torch_that_there_is(root, bare_path):
    status, printed = run(root / ".ci" / "env", bare_path, TORCH="rocm")
    assert (status, len(printed.strip().splitlines())) == (1, 1)
    assert "TORCH is rocm; leave it out, or give TORCH=cpu or TORCH=cuda" in printed


def test_packages_that_may_not_be_installed_are_named_in_one_line(root, bare_path):
    program(bare_path, "id", "echo 1000")
    program(bare_path, "apt-get", "exit 1")
    program(bare_path, "ldconfig", "echo libc.so.6")
    status, printed = run(root / ".ci" / "install-debian", bare_path)
    assert status == 1
    assert printed.strip().endswith("sudo apt-get install -y chromium bubblewrap libseccomp2")
    assert len(printed.strip().splitlines()) == 1


def test_packages_are_installed_where_that_is_allowed(root, bare_path):
    program(bare_path, "id", "echo 1000")
    program(bare_path, "sudo", 'if [ "$1" = -n ]; then exit 0; fi; exec "$@"')
    program(bare_path, "apt-get", 'echo "apt-get $*"')
    program(bare_path, "chromium", "true")
    program(bare_path, "ldconfig", "echo libseccomp.so.2")
    status, printed = run(root / ".ci" / "install-debian", bare_path)
    assert status == 0
    assert "apt-get -qq install -y --no-install-recommends bubblewrap" in printed
    program(bare_path, "bwrap", "true")
    assert run(root / ".ci" / "install-debian", bare_path) == (0, "")
    (bare_path / "chromium").unlink()
    assert run(root / ".ci" / "install-debian", bare_path, COURSE_FLOWS_CHROMIUM="/a/browser") == (0, "")


def test_targets_of_readme_and_workflow_exist(root):
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", (root / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    assert named >= {"book", "test", "check", "lab", "grade"}
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert named - targets == set()
    workflow = (root / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert {"env", "book", "test"} <= set(re.findall(r"run: make ([a-z-]+)", workflow)) <= targets
    assert [word for word in re.findall(r"\btests/[\w./]+", workflow) if not (root / word).exists()] == []


def test_the_package_works_where_it_is_installed(root, tmp_path):
    command = [sys.executable, str(root / "tests" / "smoke.py")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.endswith(": works\n"), done.stdout + done.stderr
