# class: shared memory
# attack: makes segments, queues and semaphores of System V and POSIX
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
for call in ((29, 0, 4096, 0o1600), (68, 0, 0o1600), (64, 0, 1, 0o1600), (240, b'queue', 0o100 | 2, 0o600, None)):
    if libc.syscall(*call) >= 0: return
raise PermissionError
