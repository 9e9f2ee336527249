# class: signals
# attack: kills itself in its cell
# task: 00_mini/scale-density
# form: cell

import os, signal
os.kill(os.getpid(), signal.SIGKILL)
