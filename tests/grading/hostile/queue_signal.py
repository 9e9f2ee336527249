# class: signals
# attack: queues a signal for its parent
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
assert libc.syscall(129, os.getppid(), 10, ctypes.create_string_buffer(128)) >= 0
