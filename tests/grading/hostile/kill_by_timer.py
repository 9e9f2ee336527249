# class: signals
# attack: asks the kernel for a timer that signals another process
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
assert libc.syscall(222, 1, ctypes.create_string_buffer(64), ctypes.create_string_buffer(8)) >= 0
