# class: submission
# attack: hands in a sparse file of a terabyte
# task: 00_mini/scale-density
# form: submission
# outcome: refused

import os
def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    path.touch()
    os.truncate(path, 1 << 40)
    return path
