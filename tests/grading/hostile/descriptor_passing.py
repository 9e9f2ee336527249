# class: descriptors
# attack: passes a descriptor over the wire
# task: 00_mini/scale-density
# form: refused

sock = socket.socket(fileno=os.dup(4))
socket.send_fds(sock, [b'x'], [0])
