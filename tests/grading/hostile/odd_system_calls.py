# class: system calls
# attack: tries a hundred rare system calls
# task: 00_mini/scale-density
# form: refused

libc = ctypes.CDLL(None)
rare = [16384, 101, 103, 134, 135, 136, 139, 153, 154, 155, 159, 161, 163, 165, 166, 167, 168, 169, 170, 171, 172, 173]
rare += [174, 175, 176, 177, 178, 179, 180, 205, 206, 212, 216, 219, 237, 238, 239, 246, 248, 249, 250, 251, 252, 253]
rare += [256, 272, 279, 282, 289, 298, 300, 301, 303, 304, 305, 308, 310, 311, 312, 313, 317, 319, 320, 321, 323, 425]
rare += [428, 429, 430, 431, 432, 433, 434, 438, 440, 442, 443, 447, 448, 450, 451, 456, 457, 461, 462]
for number in rare:
    if libc.syscall(number, 0, 0, 0, 0, 0, 0) >= 0: return
raise PermissionError
