# class: file system
# attack: reads the solution notebook
# task: 00_mini/scale-density
# form: refused

open('@solution@').read()
