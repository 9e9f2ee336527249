# class: exception text
# attack: raises what raises again when it is shown
# task: 00_mini/scale-density
# form: cell

class Bad(Exception):
    def __str__(self): raise RuntimeError('again')
def scale_log_density(x, a):
    raise Bad()
