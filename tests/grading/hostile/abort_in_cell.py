# class: exits
# attack: aborts in its cell
# task: 00_mini/scale-density
# form: cell

import os
os.abort()
