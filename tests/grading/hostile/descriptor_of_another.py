# class: descriptors
# attack: takes descriptors out of its parent
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
fd = libc.syscall(434, os.getppid(), 0)
assert libc.syscall(438, fd, 0, 0) >= 0
