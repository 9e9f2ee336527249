# class: submission
# attack: hands in JSON nested a million deep
# task: 00_mini/scale-density
# form: submission
# outcome: refused

def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    path.write_bytes(b'[' * 1_000_000)
    return path
