# class: file system
# attack: looks for descriptors that it inherited
# task: 00_mini/scale-density
# form: refused

for fd in range(5, 4096):
    try: os.fstat(fd)
    except OSError: continue
    return
raise FileNotFoundError
