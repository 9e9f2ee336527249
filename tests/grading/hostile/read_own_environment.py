# class: other processes
# attack: reads the environment it was started with
# task: 00_mini/scale-density
# form: refused

open('/proc/self/environ').read()
