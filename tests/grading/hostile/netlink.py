# class: sockets
# attack: asks the kernel about networks
# task: 00_mini/scale-density
# form: refused

socket.socket(16, socket.SOCK_RAW, 0)
