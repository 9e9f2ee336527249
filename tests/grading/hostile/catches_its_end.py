# class: loops
# attack: catches everything and goes on with alarms and handlers
# task: 00_mini/scale-density
# form: cell

import signal
def again(*_): signal.alarm(1)
for number in range(1, 32):
    try: signal.signal(number, again)
    except (OSError, ValueError): pass
def scale_log_density(x, a):
    signal.alarm(1)
    while True:
        try:
            sum(range(10**6))
        except BaseException:
            pass
