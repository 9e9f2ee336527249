# class: notebook tricks
# attack: changes points, flags and expected outputs of the cells
# task: 00_mini/scale-density
# form: submission
# outcome: graded
# visible: yes

def build(notebook, folder):
    for cell in notebook['cells']:
        cell['metadata'].setdefault('nbgrader', {}).update(points=1000)
        cell['metadata']['course_flows'] = {'expected': ''}
    notebook['metadata']['course_flows'] = {'exercise': '00_mini', 'points': 1000}
    path = folder / 'handed_in.ipynb'
    path.write_text(json.dumps(notebook))
    return path
