"""Landlock by ctypes: a process gives up every file except those that it lists (Linux 5.13 and later).

Reference: the kernel's documentation, "Landlock: unprivileged access control".
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["LandlockError", "abi_version", "restrict"]

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PR_SET_NO_NEW_PRIVS = 38

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << n for n in range(6))
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << n for n in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = (1 << n for n in range(13, 16))
ALL_OF_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}

READ = READ_FILE | READ_DIR | EXECUTE
# No file can be removed: one that has no name any more, but is still open or mapped, would take disk space unseen.
SCRATCH = READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | MAKE_REG | MAKE_DIR | REMOVE_DIR
FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV


class LandlockError(Exception):
    """The kernel does not offer Landlock, or a rule was refused."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("handled_access_fs", ctypes.c_uint64),)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def _syscall(number: int, *args: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = libc.syscall(ctypes.c_long(number), *args)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def abi_version() -> int:
    """Return the version of Landlock that the kernel offers, 0 where it offers none."""
    try:
        return _syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(readable: Iterable[Path], scratch: Path, sockets_in_scratch: bool = False) -> int:
    """Allow this thread and what it starts to read ``readable`` and to write inside ``scratch``, no more.

    Call it before any thread is started. Returns the version of Landlock in force.
    """
    version = abi_version()
    if version < 1:
        raise LandlockError("the kernel offers no Landlock (Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK)")
    handled = ALL_OF_ABI[min(version, 5)]
    ruleset = _Ruleset(handled)
    try:
        fd = _syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(8), ctypes.c_uint32(0))
        try:
            for path in readable:
                _allow(fd, path, READ & handled)
            for device in ("/dev/null", "/dev/zero"):
                _allow(fd, Path(device), (READ_FILE | WRITE_FILE) & handled)
            own = SCRATCH | MAKE_SOCK if sockets_in_scratch else SCRATCH
            _allow(fd, scratch, own & handled)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
                raise LandlockError("no_new_privs cannot be set")
            _syscall(RESTRICT_SELF, ctypes.c_int(fd), ctypes.c_uint32(0))
        finally:
            os.close(fd)
    except OSError as error:
        raise LandlockError(f"a Landlock rule was refused: {error}") from None
    return version


def _allow(ruleset_fd: int, path: Path, access: int) -> None:
    """Allow access beneath a path; a path that does not exist is passed over, it needs no rule."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= FILE_ONLY
        rule = _PathBeneath(access, fd)
        _syscall(ADD_RULE, ctypes.c_int(ruleset_fd), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(fd)
