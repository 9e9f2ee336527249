# class: submission
# attack: hands in a file whose name holds escapes
# task: 00_mini/scale-density
# form: submission
# outcome: graded

def build(notebook, folder):
    path = folder / '<b>\x1b[2J\n::error::.ipynb'
    path.write_text(json.dumps(notebook))
    return path
