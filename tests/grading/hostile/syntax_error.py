# class: exits
# attack: is no Python
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a) return
