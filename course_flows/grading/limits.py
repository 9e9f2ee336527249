"""What a worker may use: one place for every number."""

from __future__ import annotations

import msgspec

__all__ = ["Limits"]

MEGABYTE = 1 << 20


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Caps on one grading; the defaults suit exercises of this course.

    CPU time decides, wall-clock time is generous, so that a busy machine fails nobody.
    """

    memory_bytes: int = 2048 * MEGABYTE
    worker_cpu_seconds: int = 60
    call_cpu_seconds: float = 10.0
    call_wall_seconds: float = 40.0
    total_wall_seconds: float = 300.0
    file_bytes: int = 64 * MEGABYTE
    scratch_bytes: int = 256 * MEGABYTE
    scratch_files: int = 20_000
    threads: int = 512
    reply_bytes: int = 32 * MEGABYTE
    notebook_bytes: int = 4 * MEGABYTE
    losses_per_task: int = 2
    visible_cell_seconds: int = 60
    visible_wall_seconds: float = 240.0
