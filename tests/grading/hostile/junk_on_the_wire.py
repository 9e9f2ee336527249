# class: protocol
# attack: writes junk on the wire
# task: 00_mini/scale-density
# form: cell

import os
def scale_log_density(x, a):
    os.write(4, b'junk' * 100)
    return x
