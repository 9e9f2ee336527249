"""Watching the folder that a student's code may write to."""

from __future__ import annotations

import os
from pathlib import Path

from course_flows.grading.limits import Limits

__all__ = ["outgrown"]


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
                        size += entry.stat(follow_symlinks=False).st_size
                    if files > limits.scratch_files or size > limits.scratch_bytes:
                        return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False
