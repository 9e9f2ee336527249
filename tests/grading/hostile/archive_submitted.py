# class: submission
# attack: hands in an archive with paths that climb out
# task: 00_mini/scale-density
# form: submission
# outcome: refused

import io, zipfile
def build(notebook, folder):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive: archive.writestr('../../../owned', 'x')
    path = folder / 'handed_in.ipynb'
    path.write_bytes(buffer.getvalue())
    return path
