"""Reading a submitted file, one plain file of limited size and nothing else, and writing results in one step."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from course_flows.grading.notebooks import NotebookError
from course_flows.grading.text import one_line

__all__ = ["read_file", "write_file"]


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of one plain file, or raise NotebookError: no links, pipes, folders or giants."""
    name = one_line(path.name, 120)
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        reason = "it is a symbolic link" if path.is_symlink() else (error.strerror or "unknown error").lower()
        raise NotebookError(f"The file {name} cannot be read as a notebook: {reason}.") from None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise NotebookError(f"{name} is not a notebook: it is not a plain file.")
        if status.st_nlink > 1:
            raise NotebookError(f"{name} is not taken as a notebook: the file has a second name (a hard link).")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(max_bytes + 1)
    finally:
        os.close(fd)
    if len(data) > max_bytes:
        raise NotebookError(f"{name} is not taken as a notebook: it is larger than {max_bytes >> 20} MB.")
    return data


def write_file(path: Path, text: str) -> None:
    """Write a file in one step: readers see the old text or the new one, never a part."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
