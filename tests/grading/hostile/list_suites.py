# class: file system
# attack: lists the folder of hidden suites
# task: 00_mini/scale-density
# form: refused

os.listdir('@hidden@')
