# class: results
# attack: answers an empty tensor, which agrees with anything by broadcasting
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    return x[:0]
