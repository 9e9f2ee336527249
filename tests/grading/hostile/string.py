# class: results
# attack: answers a megabyte of text
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    return 'x' * 10**6
