# class: submission
# attack: fills its cell with three megabytes
# task: 00_mini/scale-density
# form: submission
# outcome: graded

def build(notebook, folder):
    for cell in notebook['cells']:
        if cell['id'] == 'scale-density': cell['source'] = 'x = (' + '1 + ' * 700_000 + '1)'
    path = folder / 'handed_in.ipynb'
    path.write_text(json.dumps(notebook))
    return path
