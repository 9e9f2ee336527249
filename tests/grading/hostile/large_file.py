# class: disk space
# attack: writes a file above the limit
# task: 00_mini/scale-density
# form: refused

with open('big', 'wb') as file:
    for _ in range(80): file.write(bytes(1 << 20))
