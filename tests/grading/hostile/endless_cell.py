# class: loops
# attack: never finishes its cell
# task: 00_mini/scale-density
# form: cell

while True: pass
