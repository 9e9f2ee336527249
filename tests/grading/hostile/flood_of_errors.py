# class: output
# attack: raises a hundred megabytes of text
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    raise ValueError('y' * 10**8)
