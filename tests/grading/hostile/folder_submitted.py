# class: submission
# attack: hands in a folder
# task: 00_mini/scale-density
# form: submission
# outcome: refused

def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    path.mkdir()
    return path
