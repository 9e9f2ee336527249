# class: writes
# attack: truncates torch through a read-only descriptor
# task: 00_mini/scale-density
# form: refused

os.close(os.open(torch.__file__, os.O_RDONLY | os.O_TRUNC))
