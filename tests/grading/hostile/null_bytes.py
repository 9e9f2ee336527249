# class: submission
# attack: puts null bytes, surrogates and odd line ends into its cell
# task: 00_mini/scale-density
# form: submission
# outcome: graded

def build(notebook, folder):
    for cell in notebook['cells']:
        if cell['id'] == 'scale-density': cell['source'] = ['def f():\r', '\x00\x0c', '\u2028', 5, None]
    path = folder / 'handed_in.ipynb'
    path.write_text(json.dumps(notebook))
    return path
