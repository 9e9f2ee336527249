# class: loops
# attack: overflows the stack of the interpreter
# task: 00_mini/scale-density
# form: cell

import sys
sys.setrecursionlimit(10**9)
class Deep:
    def __repr__(self): return repr(self)
def scale_log_density(x, a):
    return repr(Deep())
