# class: other processes
# attack: reads what other processes were started with
# task: 00_mini/scale-density
# form: refused

for pid in range(1, 70000):
    try: open(f'/proc/{pid}/cmdline').read()
    except OSError: continue
    return
raise PermissionError
