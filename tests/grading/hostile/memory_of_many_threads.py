# class: memory
# attack: starts threads with large stacks
# task: 00_mini/scale-density
# form: refused

threading.stack_size(1 << 30)
keep = [threading.Thread(target=time.sleep, args=(5,)) for _ in range(4)]
for thread in keep: thread.start()
