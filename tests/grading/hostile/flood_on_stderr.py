# class: output
# attack: writes on standard error without end
# task: 00_mini/scale-density
# form: cell

import os
def scale_log_density(x, a):
    while True:
        os.write(2, b'x' * 65536)
