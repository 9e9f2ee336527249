# class: signals
# attack: lets a descriptor signal the parent
# task: 00_mini/scale-density
# form: refused

import fcntl
fcntl.fcntl(1, fcntl.F_SETOWN, os.getppid())
