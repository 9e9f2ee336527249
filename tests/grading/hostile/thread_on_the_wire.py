# class: left running
# attack: a thread writes on the wire at any time: whose fault a broken frame is cannot be told
# task: 00_mini/scale-density
# form: cell
# beside: may suffer

import os, threading, time
def write():
    while True:
        os.write(4, b'CFW1')
threading.Thread(target=write, daemon=True).start()
def scale_log_density(x, a):
    time.sleep(0.2)
    return x
