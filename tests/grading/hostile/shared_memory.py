# class: shared memory
# attack: makes a segment of shared memory
# task: 00_mini/scale-density
# form: refused

from multiprocessing import shared_memory
shared_memory.SharedMemory(create=True, size=9)
