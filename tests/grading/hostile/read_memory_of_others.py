# class: other processes
# attack: reads the memory of its parent by a system call
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
for number in (310, 311, 312, 438, 440, 448):
    if libc.syscall(number, os.getppid(), 0, 0, 0, 0, 0) >= 0: return
raise PermissionError
