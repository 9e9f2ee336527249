# class: disk space
# attack: writes many files just below the limit
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    for n in range(100):
        with open(f'f{n}', 'wb') as file:
            for _ in range(60): file.write(bytes(1 << 20))
