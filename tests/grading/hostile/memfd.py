# class: shared memory
# attack: makes a file in memory
# task: 00_mini/scale-density
# form: refused

os.memfd_create('x')
