# class: exits
# attack: interrupts the run of the cells
# task: 00_mini/scale-density
# form: cell

raise KeyboardInterrupt
