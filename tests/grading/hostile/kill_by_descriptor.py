# class: signals
# attack: opens its parent by number to signal it
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
assert libc.syscall(434, os.getppid(), 0) >= 0
