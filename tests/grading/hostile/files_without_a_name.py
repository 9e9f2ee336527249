# class: disk space
# attack: takes disk space in files that it unlinks while they are open
# task: 00_mini/scale-density
# form: refused

keep = []
for n in range(12):
    file = open(f'f{n}', 'wb')
    os.unlink(f'f{n}')
    for _ in range(50): file.write(bytes(1 << 20))
    keep.append(file)
