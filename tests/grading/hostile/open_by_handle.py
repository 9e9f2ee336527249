# class: file system
# attack: opens files by their handle, past every path
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
for number in (303, 304):
    if libc.syscall(number, -100, b'/etc/passwd', ctypes.create_string_buffer(136), ctypes.create_string_buffer(8), 0) >= 0: return
raise PermissionError
