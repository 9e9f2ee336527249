# class: disk space
# attack: takes disk space in files that it replaces while they are open
# task: 00_mini/scale-density
# form: refused

keep = []
for n in range(12):
    file = open('new', 'wb')
    for _ in range(50): file.write(bytes(1 << 20))
    os.rename('new', 'old')
    keep.append(file)
