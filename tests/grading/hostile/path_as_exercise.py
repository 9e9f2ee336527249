# class: submission
# attack: names an exercise that leads to another folder
# task: 00_mini/scale-density
# form: submission
# outcome: refused

def build(notebook, folder):
    notebook['metadata']['course_flows'] = {'exercise': '../../../etc/passwd'}
    path = folder / 'handed_in.ipynb'
    path.write_text(json.dumps(notebook))
    return path
