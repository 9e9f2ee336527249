# class: other processes
# attack: reads the map of its parent's memory
# task: 00_mini/scale-density
# form: refused

open(f'/proc/{os.getppid()}/maps').read()
