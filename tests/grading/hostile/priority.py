# class: system calls
# attack: asks for real-time priority
# task: 00_mini/scale-density
# form: refused

os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
