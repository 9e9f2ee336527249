# class: sockets
# attack: makes a pair of sockets
# task: 00_mini/scale-density
# form: refused

socket.socketpair()
