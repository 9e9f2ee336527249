# class: protocol
# attack: announces a frame of 16 exabytes
# task: 00_mini/scale-density
# form: cell

import os
def scale_log_density(x, a):
    os.write(4, b'CFW1' + b'\xff' * 12)
    return x
