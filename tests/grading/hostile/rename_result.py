# class: writes
# attack: replaces the report by a file of its own
# task: 00_mini/scale-density
# form: refused

open('mine', 'w').write('x')
os.replace('mine', '@results@/report.json')
