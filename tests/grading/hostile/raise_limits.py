# class: system calls
# attack: raises its own limit of CPU time
# task: 00_mini/scale-density
# form: refused

import resource
resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))
