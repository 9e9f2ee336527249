"""Attacks as text of the cell ``scale-density``: each gets its points only where the attack has its effect."""

from __future__ import annotations

RIGHT = """
def scale_log_density(x, a):
    return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(abs(a))
"""


def unless_refused(attack: str) -> str:
    """Return a cell whose function answers rightly only where ``attack`` raises nothing."""
    body = "\n".join("        " + line for line in attack.strip().splitlines())
    return f"""
import os, socket, subprocess, ctypes, pathlib, signal, threading, time, sys

def attack():
{body.replace("        ", "    ")}

def scale_log_density(x, a):
    try:
        attack()
    except BaseException:
        return None
    return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(abs(a))
"""


REFUSED = {
    "write-home": "pathlib.Path.home().parent.joinpath('owned').write_text('x')",
    "write-tmp": "open('/tmp/course-flows-owned', 'w')",
    "write-package": "open(torch.__file__, 'a')",
    "truncate-package": "os.close(os.open(torch.__file__, os.O_RDONLY | os.O_TRUNC))",
    "chmod-package": "os.chmod(torch.__file__, 0o644)",
    "utime-package": "os.utime(torch.__file__)",
    "read-solutions": "open({solution!r}).read()",
    "read-suite": "open({suite!r}).read()",
    "list-suites": "os.listdir({hidden!r})",
    "read-grader": "open({grader!r}).read()",
    "read-passwd": "open('/etc/passwd').read()",
    "read-own-environment": "open('/proc/self/environ').read()",
    "read-parent-memory": "open(f'/proc/{{os.getppid()}}/maps').read()",
    "network": "socket.create_connection(('127.0.0.1', {port}), timeout=2)",
    "udp": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "unix-socket": "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "socketpair": "socket.socketpair()",
    "fork": "pid = os.fork()\nif pid == 0: os._exit(0)",
    "exec": "os.execv('/bin/true', ['true'])",
    "subprocess": "subprocess.run(['true'], check=True)",
    "vfork": "assert ctypes.CDLL(None).system(b'true') == 0",
    "kill-parent": "os.kill(os.getppid(), signal.SIGTERM)",
    "kill-group": "os.killpg(0, signal.SIGUSR1)",
    "signal-by-file": "import fcntl\nfcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())",
    "memfd": "os.memfd_create('x')",
    "namespace": "assert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "mount": "assert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "ptrace": "assert ctypes.CDLL(None).ptrace(16, os.getppid(), None, None) == 0",
    "bpf": "assert ctypes.CDLL(None).syscall(321, 0, None, 0) >= 0",
    "io-uring": "assert ctypes.CDLL(None).syscall(425, 8, None) >= 0",
    "keyring": "assert ctypes.CDLL(None).syscall(250, 0, -3, 0) >= 0",
    "raise-limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))",
    "shared-memory": "from multiprocessing import shared_memory\nshared_memory.SharedMemory(create=True, size=9)",
    "symbolic-link": "os.symlink('/etc/passwd', 'link')",
    "fifo": "os.mkfifo('pipe')",
    "large-file": "with open('big', 'wb') as file:\n    for _ in range(80): file.write(bytes(1 << 20))",
    "memory": "block = bytearray(3 << 30)",
}

ANSWERS = {
    "nan": "def scale_log_density(x, a):\n    return x * float('nan')",
    "empty": "def scale_log_density(x, a):\n    return x[:0]",
    "wrong-shape": "def scale_log_density(x, a):\n    return torch.zeros(0, 7, dtype=torch.float64)",
    "float32": RIGHT.replace("math.log(abs(a))", "math.log(abs(a))").replace("x / a", "x.float() / a"),
    "string": "def scale_log_density(x, a):\n    return 'x' * 10**6",
    "sparse": "def scale_log_density(x, a):\n    return x.to_sparse()",
    "huge": "def scale_log_density(x, a):\n    return torch.zeros(6_000_000, dtype=torch.float64)",
    "subclass": """
class Liar(torch.Tensor):
    def __eq__(self, other): return True
    def __abs__(self): return 0
def scale_log_density(x, a):
    return x.as_subclass(Liar)
""",
    "object": """
class Liar:
    shape, dtype = (7,), torch.float64
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return self
    def __eq__(self, other): return True
    def __bool__(self): return True
    def __float__(self): return 0.0
def scale_log_density(x, a):
    return Liar()
""",
    "deep": "def scale_log_density(x, a):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y",
    "raise-in-str": """
class Bad(Exception):
    def __str__(self): raise RuntimeError('again')
def scale_log_density(x, a):
    raise Bad()
""",
    "patched-torch": """
torch.allclose = torch.equal = lambda *a, **k: True
torch.Tensor.__eq__ = lambda *a: True
def scale_log_density(x, a):
    return x
""",
    "skip": "def scale_log_density(x, a):\n    import pytest\n    pytest.skip('no')",
    "system-exit": "def scale_log_density(x, a):\n    raise SystemExit(0)",
    "raise-in-cell": "raise KeyboardInterrupt",
    "syntax-error": "def scale_log_density(x, a) return",
    "recursion": "def scale_log_density(x, a):\n    return scale_log_density(x, a)",
    "stack-and-gc-search": """
import gc, sys
def scale_log_density(x, a):
    for thing in gc.get_objects():
        if type(thing).__name__ in ('Session', 'HiddenPlugin', 'Property'):
            return torch.distributions.Normal(0.0, abs(a)).log_prob(x)
""",
}

LOSSES = {
    "exit-in-call": "import os\ndef scale_log_density(x, a):\n    os._exit(0)",
    "exit-in-cell": "import os\nos._exit(0)",
    "segfault": "import ctypes\ndef scale_log_density(x, a):\n    ctypes.string_at(0)",
    "abort-in-cell": "import os\nos.abort()",
    "endless-loop": "def scale_log_density(x, a):\n    while True: pass",
    "endless-cell": "while True: pass",
    "ignores-everything": """
import signal
for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
def scale_log_density(x, a):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "flood": "def scale_log_density(x, a):\n    while True: print('x' * 10**6)",
    "junk-on-the-wire": "import os\ndef scale_log_density(x, a):\n    os.write(4, b'junk' * 100)\n    return x",
    "lying-lengths": "import os\ndef scale_log_density(x, a):\n    os.write(4, b'CFW1' + b'\\xff' * 12)\n    return x",
    "early-reply": """
import os, sys
from course_flows.grading import protocol as p
def scale_log_density(x, a):
    os.write(4, p.encode(p.Reply(1, p.Array('float64', [7])), [bytes(56)]))
    return x
""",
    "closed-wire": "import os\ndef scale_log_density(x, a):\n    os.close(4)\n    return x",
    "many-files": """
def scale_log_density(x, a):
    n = 0
    while True:
        open(f'f{n}', 'w').close()
        n += 1
""",
}

THREAD = """
import os, threading, time
def write():
    while True:
        os.write(4, b'CFW1')
threading.Thread(target=write, daemon=True).start()
def scale_log_density(x, a):
    time.sleep(0.2)
    return x
"""
