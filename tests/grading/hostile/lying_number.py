# class: lying objects
# attack: answers a number that is equal to everything
# task: 00_mini/scale-density
# form: cell

class Number(float):
    def __eq__(self, other): return True
    def __sub__(self, other): return Number(0.0)
    __hash__ = float.__hash__
def scale_log_density(x, a):
    return Number(0.0)
