# class: signals
# attack: ignores signals and catches whatever is raised
# task: 00_mini/scale-density
# form: cell

import signal
for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
def scale_log_density(x, a):
    while True:
        try:
            while True: pass
        except BaseException: pass
