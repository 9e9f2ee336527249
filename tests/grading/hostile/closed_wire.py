# class: protocol
# attack: closes its end of the wire
# task: 00_mini/scale-density
# form: cell

import os
def scale_log_density(x, a):
    os.close(4)
    return x
