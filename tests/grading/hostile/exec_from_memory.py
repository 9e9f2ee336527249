# class: processes
# attack: executes a program that lies in memory
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
assert libc.syscall(322, 0, b'/bin/true', None, None, 0) == 0
