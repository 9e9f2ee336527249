# class: exits
# attack: leaves the process with status 0 in its cell
# task: 00_mini/scale-density
# form: cell

import os
os._exit(0)
