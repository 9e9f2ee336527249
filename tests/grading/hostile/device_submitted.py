# class: submission
# attack: hands in an endless device
# task: 00_mini/scale-density
# form: submission
# outcome: refused

def build(notebook, folder):
    import pathlib
    return pathlib.Path('/dev/zero')
