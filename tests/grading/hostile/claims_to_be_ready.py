# class: protocol
# attack: sends the message with which a worker reports its lock
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
    os.write(4, p.encode(p.Ready(['none'], '')))
    return x
