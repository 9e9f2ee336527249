# class: submission
# attack: hands in a second name of another file
# task: 00_mini/scale-density
# form: submission
# outcome: refused

import os
def build(notebook, folder):
    path = folder / 'handed_in.ipynb'
    (folder / 'other').write_text(json.dumps(notebook))
    os.link(folder / 'other', path)
    return path
