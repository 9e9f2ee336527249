# class: disk space
# attack: reserves disk space beyond the end of an empty file
# task: 00_mini/scale-density
# form: refused

fd = os.open('f', os.O_CREAT | os.O_RDWR)
libc = ctypes.CDLL(None)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
libc.fallocate(fd, 1, 0, 500 << 20)
assert os.fstat(fd).st_blocks * 512 > 256 << 20
