# class: system calls
# attack: sets a filter or a ruleset of its own, and asks to be dumpable
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
for call in ((317, 1, 0, None), (444, None, 0, 1), (157, 4, 1, 0, 0, 0), (157, 1, 0, 0, 0, 0), (157, 22, 2, 0, 0, 0)):
    if libc.syscall(*call) >= 0: return
raise PermissionError
