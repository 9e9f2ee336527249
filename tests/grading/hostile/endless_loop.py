# class: loops
# attack: never returns
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    while True: pass
