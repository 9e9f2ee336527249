# class: shared memory
# attack: writes into the folder of shared memory
# task: 00_mini/scale-density
# form: refused

open('/dev/shm/owned', 'w')
