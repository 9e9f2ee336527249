"""Ctrl-C and SIGTERM as a wish that a run can grant at a good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StopWish", "stop_wish"]


class StopWish:
    """Whether the process was asked to stop.

    Attributes:
        signal: number of the signal that asked; None while nobody has.
    """

    def __init__(self) -> None:
        self.signal: int | None = None


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Note Ctrl-C and SIGTERM for a while in place of dying from them; a second one of the kind works as always.

    What the process ignores, as in the background of a shell, it goes on ignoring.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    found = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    before = {kind: handler for kind, handler in found.items() if handler not in (None, signal.SIG_IGN)}

    def note(number: int, frame: FrameType | None) -> None:
        wish.signal = number
        signal.signal(number, before[signal.Signals(number)])

    try:
        for kind in before:
            signal.signal(kind, note)
        yield wish
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
