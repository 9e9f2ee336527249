# class: writes
# attack: writes into the folder of temporary files
# task: 00_mini/scale-density
# form: refused

open('@tmp@/owned', 'w')
