# class: processes
# attack: forks by a bare system call, old and new
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
args = ctypes.create_string_buffer(88)
for call in ((57,), (58,), (56, 17, 0, 0, 0, 0), (435, args, 88)):
    pid = libc.syscall(*call)
    if pid == 0: os._exit(0)
    if pid > 0: return
raise PermissionError
