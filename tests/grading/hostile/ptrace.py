# class: other processes
# attack: attaches to its parent as a debugger
# task: 00_mini/scale-density
# form: refused

assert ctypes.CDLL(None).ptrace(16, os.getppid(), None, None) == 0
