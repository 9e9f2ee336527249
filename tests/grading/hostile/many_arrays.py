# class: protocol
# attack: sends half a million empty arrays in one reply
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
    os.write(4, p.encode(p.Reply(request().call, p.Listing([p.Array('bool', [0])] * 400_000))))
    os._exit(0)
