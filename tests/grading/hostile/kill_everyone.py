# class: signals
# attack: signals every process it may
# task: 00_mini/scale-density
# form: refused

os.kill(-1, 0)
