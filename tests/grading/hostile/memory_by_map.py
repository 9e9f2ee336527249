# class: memory
# attack: maps anonymous memory beyond its budget
# task: 00_mini/scale-density
# form: refused

import mmap
keep = [mmap.mmap(-1, 1 << 30) for _ in range(4)]
