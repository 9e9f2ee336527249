# class: sockets
# attack: makes a unix socket
# task: 00_mini/scale-density
# form: refused

socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
