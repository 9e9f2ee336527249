# class: processes
# attack: starts a worker of multiprocessing
# task: 00_mini/scale-density
# form: refused

import multiprocessing
process = multiprocessing.get_context('fork').Process(target=print)
process.start()
