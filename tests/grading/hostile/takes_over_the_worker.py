# class: protocol
# attack: replaces the worker's loop by one that claims that every call went well
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
    answer = request().call
    while True:
        os.write(4, p.encode(p.Reply(answer, True)))
        prefix = os.read(3, p.PREFIX.size)
        if len(prefix) < p.PREFIX.size: os._exit(0)
        header, body = p.sizes_of_prefix(prefix)
        data, rest = b'', b''
        while len(data) < header: data += os.read(3, header - len(data))
        while len(rest) < body: rest += os.read(3, body - len(rest))
        message, _ = p.decode(data, rest)
        answer = message.call
        if message.action == 'reset': os._exit(0)
