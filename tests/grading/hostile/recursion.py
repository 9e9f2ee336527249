# class: loops
# attack: calls itself without end
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    return scale_log_density(x, a)
