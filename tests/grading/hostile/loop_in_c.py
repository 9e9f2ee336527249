# class: loops
# attack: spends its time in one call of C code that no signal interrupts
# task: 00_mini/scale-density
# form: cell

def scale_log_density(x, a):
    return 7 ** (10**10)
