"""The lock that a worker sets on itself before it sees any of a student's code.

Resource limits, Landlock (files) and seccomp (system calls), then a look whether they hold. Needs no privileges.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import sys
import sysconfig
from pathlib import Path

from course_flows.grading import landlock, syscalls
from course_flows.grading.limits import Limits

if sys.platform != "win32":
    import resource

__all__ = ["LockError", "lock_kernel", "lock_worker", "readable_paths"]

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
NOBODY = 65534
USER_THREADS = 8192  # it counts every thread of the user, on a desktop thousands; the fork server counts a worker's own
OWN_STATUS = Path("/proc/self/status")


class LockError(Exception):
    """A layer of the lock cannot be set or does not hold."""


def readable_paths() -> list[Path]:
    """Return what a worker may read, of what this user can reach: Python, its packages, the system's libraries."""
    paths = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [sysconfig.get_config_var("LIBDIR") or "", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo"]
    paths += ["/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/dev/random"]
    paths += ["/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"]
    return [Path(path) for path in dict.fromkeys(paths) if os.path.exists(path)]


def lock_worker(scratch: Path, limits: Limits) -> list[str]:
    """Lock this process as a worker; return the names of the layers that hold."""
    return _lock(scratch, limits, kernel=False)


def lock_kernel(scratch: Path, limits: Limits) -> list[str]:
    """Lock this process as a notebook kernel: like a worker, with listening unix sockets in ``scratch``."""
    return _lock(scratch, limits, kernel=True)


def _lock(scratch: Path, limits: Limits, kernel: bool) -> list[str]:
    if not sys.platform.startswith("linux"):
        raise LockError(f"Landlock and seccomp exist on Linux only, this is {sys.platform}; use a Linux container")
    if os.getpid() != os.getsid(0):
        os.setsid()
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise LockError(f"the lock is set by a process with one thread, found {threads}")
    _drop_privileges(scratch)
    _limit_resources(limits)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    if not _can_open(OWN_STATUS):
        raise LockError(f"whether Landlock holds cannot be tried: {OWN_STATUS} cannot be read even without it")
    try:
        version = landlock.restrict(readable_paths(), scratch, sockets_in_scratch=kernel)
        syscalls.load_filter(kernel_sockets=kernel)
    except (landlock.LandlockError, syscalls.SeccompError) as error:
        raise LockError(str(error)) from None
    _verify()
    return ["rlimits", f"landlock {version}", "seccomp"]


def _limit_resources(limits: Limits) -> None:
    mapped = _mapped_bytes()
    caps = {
        resource.RLIMIT_AS: mapped + limits.memory_bytes,
        resource.RLIMIT_CPU: limits.worker_cpu_seconds,
        resource.RLIMIT_FSIZE: limits.file_bytes,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_NPROC: USER_THREADS,
    }
    for kind, cap in caps.items():
        _, hard = resource.getrlimit(kind)
        cap = cap if hard == resource.RLIM_INFINITY else min(cap, hard)
        resource.setrlimit(kind, (cap, cap))


def _mapped_bytes() -> int:
    """Return how much address space this process has mapped already: Python, torch and their libraries."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _drop_privileges(scratch: Path) -> None:
    """Root becomes nobody where nobody can reach Python and ``scratch``; in any case every capability goes."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if all(_open_to_all(path) for path in (scratch, *readable_paths())):
        try:
            for path in (scratch, *scratch.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        except OSError:
            pass
        else:
            return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    empty = (ctypes.c_uint32 * 6)()
    if libc.capset(header, empty) != 0:
        raise LockError("the capabilities of root cannot be dropped")


def _open_to_all(path: Path) -> bool:
    return all(os.stat(folder).st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def _can_open(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


def _verify() -> None:
    """Try what must fail: a file that could be read without the lock, reaching a network, starting a process."""
    if _can_open(OWN_STATUS):
        raise LockError(f"Landlock does not hold: {OWN_STATUS} could be opened")
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    except OSError:
        pass
    else:
        raise LockError("seccomp does not hold: a network socket could be made")
    try:
        pid = os.fork()
    except OSError:
        return
    if pid == 0:
        os._exit(0)
    raise LockError("seccomp does not hold: a process could be started")
