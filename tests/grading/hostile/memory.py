# class: memory
# attack: takes three gigabytes at once
# task: 00_mini/scale-density
# form: refused

block = bytearray(3 << 30)
