# class: processes
# attack: forks
# task: 00_mini/scale-density
# form: refused

pid = os.fork()
if pid == 0: os._exit(0)
