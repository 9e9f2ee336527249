# class: exits
# attack: reads address 0 when called
# task: 00_mini/scale-density
# form: cell

import ctypes
def scale_log_density(x, a):
    ctypes.string_at(0)
