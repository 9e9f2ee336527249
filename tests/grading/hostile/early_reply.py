# class: protocol
# attack: answers before it is asked, with a guessed call number
# task: 00_mini/scale-density
# form: cell

import os, sys
from course_flows.grading import protocol as p
def scale_log_density(x, a):
    os.write(4, p.encode(p.Reply(1, p.Array('float64', [7])), [bytes(56)]))
    return x
