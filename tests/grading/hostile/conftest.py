# class: poisoned folder
# attack: comes with conftest.py, pytest.py, sitecustomize.py and pytest.ini
# task: 00_mini/scale-density
# form: submission
# outcome: graded
# visible: yes

def build(notebook, folder):
    for name in ('conftest.py', 'pytest.py', 'sitecustomize.py', 'torch.py', 'course_flows.py', 'json.py'):
        (folder / name).write_text('import os; os._exit(0)')
    (folder / 'pytest.ini').write_text('[pytest]\naddopts = --collect-only')
    (folder / '.coveragerc').write_text('[run]\nplugins = conftest')
    path = folder / 'handed_in.ipynb'
    path.write_text(json.dumps(notebook))
    return path
