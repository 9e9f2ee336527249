# class: sockets
# attack: connects to a listening port
# task: 00_mini/scale-density
# form: refused

socket.create_connection(('127.0.0.1', @port@), timeout=2)
