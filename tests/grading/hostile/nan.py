# class: results
# attack: answers NaN
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    return x * float('nan')
