# class: submission
# attack: hands in a pipe on which nobody writes
# task: 00_mini/scale-density
# form: submission
# outcome: refused

import os
def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    os.mkfifo(path)
    return path
