# class: processes
# attack: runs a shell through the C library
# task: 00_mini/scale-density
# form: refused

assert ctypes.CDLL(None).system(b'true') == 0
