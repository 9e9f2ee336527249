# class: sockets
# attack: makes a datagram socket
# task: 00_mini/scale-density
# form: refused

socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
