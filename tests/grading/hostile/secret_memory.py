# class: shared memory
# attack: asks for secret memory and page faults in its own hands
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
for call in ((447, 0), (323, 1)):
    if libc.syscall(*call) >= 0: return
raise PermissionError
