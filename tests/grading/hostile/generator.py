# class: results
# attack: answers a generator
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    yield from x
