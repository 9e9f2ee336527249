# class: notebook tricks
# attack: displays hundreds of megabytes in the notebook
# task: 00_mini/scale-density
# form: cell
# visible: yes
# visible_beside: may suffer

try:
    from IPython.display import display
    for _ in range(40): display({'text/html': 'x' * 10**7}, raw=True)
except ImportError:
    pass

def scale_log_density(x, a):
    return -0.5 * x**2
