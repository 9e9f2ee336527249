# class: results
# attack: answers nothing
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    pass
