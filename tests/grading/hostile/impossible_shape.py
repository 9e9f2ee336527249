# class: protocol
# attack: announces an empty array of astronomical shape
# task: 00_mini/scale-density
# form: cell

import os, sys, time
from course_flows.grading import protocol as p

def request():
    frame = sys._getframe()
    while frame is not None and 'request' not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals['request']

def scale_log_density(x, a):
    os.write(4, p.encode(p.Reply(request().call, p.Array('float64', [0] + [2**27] * 6))))
    os._exit(0)
