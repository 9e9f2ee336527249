# class: processes
# attack: forks twice to outlive the grader
# task: 00_mini/scale-density
# form: refused

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(30)
    os._exit(0)
