# class: notebook tricks
# attack: names its cell like another task and doubles it
# task: 00_mini/scale-density
# form: submission
# outcome: graded

def build(notebook, folder):
    right = next(cell for cell in notebook['cells'] if cell['id'] == 'shift-module')
    wrong = next(cell for cell in notebook['cells'] if cell['id'] == 'scale-density')
    wrong['metadata']['nbgrader']['grade_id'] = 'scale-density-check'
    notebook['cells'] += [dict(wrong, id='again')] * 3
    path = folder / 'handed_in.ipynb'
    path.write_text(json.dumps(notebook))
    return path
