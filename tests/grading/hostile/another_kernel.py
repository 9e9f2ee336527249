# class: notebook tricks
# attack: asks for a kernel and an exporter of its own
# task: 00_mini/scale-density
# form: submission
# outcome: graded
# visible: yes

def build(notebook, folder):
    notebook['metadata']['kernelspec'] = {'name': '../../evil', 'language': 'bash', 'display_name': 'x'}
    notebook['metadata']['language_info'] = {'name': 'bash', 'nbconvert_exporter': 'evil'}
    path = folder / 'handed_in.ipynb'
    path.write_text(json.dumps(notebook))
    return path
