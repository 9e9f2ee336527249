# class: processes
# attack: becomes another program
# task: 00_mini/scale-density
# form: refused

os.execv('/bin/true', ['true'])
