# class: signals
# attack: signals its process group
# task: 00_mini/scale-density
# form: refused

os.killpg(0, signal.SIGUSR1)
