"""The notebook kernel of the visible stage: sets the lock on itself, then becomes an IPython kernel.

Run by a kernelspec as ``python -m course_flows.grading.kernel CONNECTION_FILE FOLDER``.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from course_flows.grading.confine import lock_kernel
from course_flows.grading.limits import Limits

__all__ = ["main"]


def main() -> None:
    """Lock, then serve the notebook."""
    connection, folder = sys.argv[1], Path(sys.argv[2])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    # Inside a process namespace the kernel's parent is process 1, which would look like an orphan's.
    os.environ.pop("JPY_PARENT_PID", None)
    import torch
    from ipykernel import kernelapp
    from ipykernel.iostream import IOPubThread
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelapp import IPKernelApp
    from IPython.core.profiledir import ProfileDir

    class Kernel(IPythonKernel):
        """A kernel that interrupts itself alone: the lock lets it signal nobody else."""

        def _send_interrupt_children(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    class Output(IOPubThread):
        """The thread that publishes output, without its TCP port for child processes: there are none."""

        def __init__(self, socket: Any, pipe: bool = False) -> None:
            super().__init__(socket, pipe=False)

    torch.set_num_threads(1)
    os.environ.update(HOME=str(folder), TMPDIR=str(folder), IPYTHONDIR=str(folder), MPLBACKEND="agg")
    os.chdir(folder)
    tempfile.tempdir = str(folder)  # else it would try by removing a file, which the lock forbids
    ProfileDir.create_profile_dir_by_name(str(folder), "default")
    limits = Limits()
    # a cell that computes too long is stopped by nbval, so that later tasks are still judged
    lock_kernel(folder, Limits(worker_cpu_seconds=math.ceil(limits.visible_wall_seconds)))
    patched: Any = kernelapp
    patched.IOPubThread = Output
    app = IPKernelApp.instance(kernel_class=Kernel)
    app.initialize(["-f", connection, "--HistoryManager.enabled=False", "--log-level=CRITICAL"])
    app.start()


if __name__ == "__main__":
    main()
