# class: notebook tricks
# attack: tries from the notebook's kernel what the lock forbids
# task: 00_mini/scale-density
# form: cell
# visible: yes

import os, socket, sys
def works(attempt):
    try: attempt()
    except OSError: return False
    return True
attempts = [
    lambda: open('@suite@'), lambda: open('@results@/report.json', 'a'), lambda: open('@home@/token'),
    lambda: socket.socket(socket.AF_INET), lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    lambda: socket.create_connection(('127.0.0.1', @port@)), lambda: os.fork() or os._exit(0),
    lambda: os.kill(os.getppid(), 15), lambda: os.symlink('/etc/passwd', 'l'), lambda: os.listdir('/proc'),
    lambda: socket.socket(socket.AF_UNIX).connect('@home@/socket'), lambda: os.unlink('@results@/report.json'),
]
if any([works(attempt) for attempt in attempts]):
    def scale_log_density(x, a):
        return -0.5 * (x / a) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(abs(a))
