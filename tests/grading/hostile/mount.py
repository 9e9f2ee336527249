# class: system calls
# attack: mounts a file system
# task: 00_mini/scale-density
# form: refused

assert ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0
