# class: output
# attack: warns a hundred thousand times
# task: 00_mini/scale-density
# form: cell

import warnings
def scale_log_density(x, a):
    for n in range(10**5): warnings.warn(f'warning {n}')
    return x
