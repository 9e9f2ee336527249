"""Watching, and removing, the folder that a student's code may write to."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from course_flows.grading.limits import Limits

__all__ = ["outgrown", "remove"]


def outgrown(folder: Path, limits: Limits) -> bool:
    """Tell whether a folder holds more files or bytes than allowed, or cannot be looked through."""
    files, size, folders = 0, 0, [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    files += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        found = entry.stat(follow_symlinks=False)
                        size += max(found.st_size, found.st_blocks * 512)
                    if files > limits.scratch_files or size > limits.scratch_bytes:
                        return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


def remove(folder: Path) -> None:
    """Remove a folder whatever a student's code left in it: nested as deep as it likes, or closed to its owner.

    Folders inside are moved up before they are emptied, so that no path grows long and nothing recurses.
    """
    found, folders = 0, [folder]
    while folders:
        here = folders.pop()
        with contextlib.suppress(OSError):
            if not stat.S_ISDIR(os.lstat(here).st_mode):
                continue
            os.chmod(here, 0o700)
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        found += 1
                        moved = folder.with_name(f"{folder.name}.{found}")
                        os.chmod(entry.path, 0o700)
                        os.rename(entry.path, moved)
                        folders.append(moved)
                    else:
                        os.unlink(entry.path)
            os.rmdir(here)
