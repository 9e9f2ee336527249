# class: system calls
# attack: asks for a user namespace
# task: 00_mini/scale-density
# form: refused

assert ctypes.CDLL(None).unshare(0x10000000) == 0
