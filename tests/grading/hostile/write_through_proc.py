# class: writes
# attack: writes a file through the root link of its parent
# task: 00_mini/scale-density
# form: refused

open(f'/proc/{os.getppid()}/root@results@/report.json', 'w')
