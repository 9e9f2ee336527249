"""The seccomp allow-list: what a worker may ask of the kernel; everything else fails with EPERM.

Threads may be started, processes may not; no sockets (a notebook kernel: its own listening unix sockets only).
"""

from __future__ import annotations

import ctypes.util
import errno
import os
import types
from typing import Any

__all__ = ["SeccompError", "load_filter"]

FILES = """read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range fstat newfstatat stat lstat
statx access faccessat faccessat2 readlink readlinkat getdents getdents64 getcwd chdir fchdir mkdir mkdirat rmdir unlink
unlinkat rename renameat renameat2 ftruncate fsync fdatasync fadvise64 sendfile copy_file_range statfs fstatfs
umask dup dup2 dup3 pipe pipe2 select pselect6 poll ppoll epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
epoll_pwait2 eventfd eventfd2 creat"""
MEMORY = "mmap munmap mprotect mremap madvise brk membarrier mincore"
PROCESS = """futex futex_waitv set_robust_list get_robust_list rseq set_tid_address arch_prctl exit exit_group
restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack pause
sched_yield sched_getaffinity sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min getcpu
getpriority alarm setitimer getitimer nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times
getpid gettid getppid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid getgroups getrlimit
getrusage sysinfo uname getrandom capget"""
KERNEL_SOCKETS = """listen accept accept4 getsockname getpeername getsockopt setsockopt shutdown sendmsg recvmsg
recvfrom bind"""

CLONE_THREAD = 0x10000
FCNTL_ALLOWED = (0, 1, 2, 3, 4, 1030)
IOCTL_ALLOWED = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
PRCTL_ALLOWED = (15, 16, 23, 39, 0x53564D41)
AF_UNIX, SOCK_STREAM, SOCK_TYPE_MASK = 1, 1, 0xF


class SeccompError(Exception):
    """The filter cannot be set."""


def _known_library(name: str) -> str | None:
    return "libseccomp.so.2" if name == "seccomp" else None


def _library() -> types.ModuleType:
    """Import pyseccomp; its search for libraries would start ldconfig, so the answer is given to it."""
    original = ctypes.util.find_library
    ctypes.util.find_library = _known_library
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError) as error:
        raise SeccompError(
            f"libseccomp cannot be used ({error}); on Debian or Ubuntu: sudo apt-get install libseccomp2, "
            "and: python -m pip install pyseccomp"
        ) from None
    finally:
        ctypes.util.find_library = original
    return pyseccomp


def load_filter(kernel_sockets: bool = False) -> None:
    """Set the filter on this process; it cannot be taken off again."""
    lib = _library()
    try:
        table = lib.SyscallFilter(lib.ERRNO(errno.EPERM))
        table.set_attr(lib.Attr.ACT_BADARCH, lib.KILL_PROCESS)
        _add_plain(lib, table, f"{FILES} {MEMORY} {PROCESS}")
        _add_open(lib, table)
        _add_process(lib, table)
        if kernel_sockets:
            _add_sockets(lib, table)
        table.load()
    except OSError as error:
        raise SeccompError(f"the seccomp filter was refused: {error}") from None


def _add(lib: types.ModuleType, table: Any, name: str, *conditions: object) -> None:
    """Allow a system call; one that this architecture does not know is passed over."""
    try:
        number = lib.resolve_syscall(lib.Arch.NATIVE, name)
    except (OSError, ValueError):
        return
    if number >= 0:
        table.add_rule(lib.ALLOW, number, *conditions)


def _add_plain(lib: types.ModuleType, table: Any, names: str) -> None:
    for name in names.split():
        _add(lib, table, name)


def _add_open(lib: types.ModuleType, table: Any) -> None:
    """Landlock decides which files; O_TRUNC needs write access, as old Landlock does not guard truncation.

    No file without a name (O_TMPFILE): its size could not be watched.
    """
    nameless = os.O_TMPFILE & ~os.O_DIRECTORY
    mode = os.O_TRUNC | os.O_ACCMODE | nameless
    for name, position in (("open", 1), ("openat", 2)):
        _add(lib, table, name, lib.Arg(position, lib.MASKED_EQ, os.O_TRUNC | nameless, 0))
        for write in (os.O_WRONLY, os.O_RDWR):
            _add(lib, table, name, lib.Arg(position, lib.MASKED_EQ, mode, os.O_TRUNC | write))


def _add_process(lib: types.ModuleType, table: Any) -> None:
    _add(lib, table, "clone", lib.Arg(0, lib.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    for name in ("clone3", "openat2"):
        table.add_rule(lib.ERRNO(errno.ENOSYS), lib.resolve_syscall(lib.Arch.NATIVE, name))
    for name in ("tgkill", "kill"):
        _add(lib, table, name, lib.Arg(0, lib.EQ, os.getpid()))
    for command in FCNTL_ALLOWED:
        _add(lib, table, "fcntl", lib.Arg(1, lib.EQ, command))
    for command in IOCTL_ALLOWED:
        _add(lib, table, "ioctl", lib.Arg(1, lib.MASKED_EQ, 0xFFFFFFFF, command))
    for option in PRCTL_ALLOWED:
        _add(lib, table, "prctl", lib.Arg(0, lib.EQ, option))
    _add(lib, table, "prlimit64", lib.Arg(0, lib.EQ, 0), lib.Arg(2, lib.EQ, 0))


def _add_sockets(lib: types.ModuleType, table: Any) -> None:
    """Listening stream sockets of the unix family; connecting, sending to an address and datagrams stay forbidden."""
    for name in ("socket", "socketpair"):
        kind = lib.Arg(1, lib.MASKED_EQ, SOCK_TYPE_MASK, SOCK_STREAM)
        _add(lib, table, name, lib.Arg(0, lib.EQ, AF_UNIX), kind)
    _add_plain(lib, table, KERNEL_SOCKETS)
    _add(lib, table, "sendto", lib.Arg(4, lib.EQ, 0))
    # ZeroMQ gives its threads the ordinary scheduling policy, 0, and aborts where it may not
    _add(lib, table, "sched_setscheduler", lib.Arg(1, lib.EQ, 0))
