# class: system calls
# attack: enters the kernel by the numbers of the x32 interface
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
for number in (39, 41, 57, 59, 520):
    result = libc.syscall(0x40000000 + number, 0, 0, 0)
    if result == 0 and number == 57: os._exit(0)
    if result >= 0: return
raise PermissionError
