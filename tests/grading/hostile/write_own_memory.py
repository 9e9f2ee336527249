# class: other processes
# attack: writes its own memory through /proc
# task: 00_mini/scale-density
# form: refused

open('/proc/self/mem', 'r+b')
