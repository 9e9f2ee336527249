"""Runs of the setup scripts with a PATH on which only a few tools are, some of them stand-ins."""

from __future__ import annotations

import subprocess
from pathlib import Path

TOOLS = ("bash", "dirname", "cut", "id", "grep", "git", "awk", "cat", "cp", "mkdir", "mktemp", "rm", "touch")


def program(folder: Path, name: str, text: str) -> None:
    """Write a program in the language of sh."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def run(script: Path, path: Path, **variables: str) -> tuple[int, str]:
    """Run a script and return its exit status and what it printed."""
    environment = {"PATH": str(path), "HOME": str(path), **variables}
    done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr
