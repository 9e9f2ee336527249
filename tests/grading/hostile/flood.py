# class: output
# attack: prints without end
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    while True: print('x' * 10**6)
