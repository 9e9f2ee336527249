# class: sockets
# attack: tries every family and kind of sockets
# task: 00_mini/scale-density
# form: refused

for family in range(46):
    for kind in (1, 2, 3, 5):
        try: socket.socket(family, kind)
        except OSError: continue
        return
raise PermissionError
