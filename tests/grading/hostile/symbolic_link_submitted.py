# class: submission
# attack: hands in a link to the solution
# task: 00_mini/scale-density
# form: submission
# outcome: refused

import os
def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    os.symlink('@solution@', path)
    return path
