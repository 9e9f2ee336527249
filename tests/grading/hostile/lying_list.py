# class: lying objects
# attack: answers a list that changes while it is read
# task: 00_mini/scale-density
# form: cell

class Liar(list):
    def __iter__(self): return iter([0.0] * 7)
    def __len__(self): return 7
def scale_log_density(x, a):
    return Liar()
