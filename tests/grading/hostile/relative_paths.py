# class: file system
# attack: climbs out of its folder by relative paths
# task: 00_mini/scale-density
# form: refused

os.chdir('/')
fd = os.open('.', os.O_PATH)
os.close(os.open('@suite@'.lstrip('/'), os.O_RDONLY, dir_fd=fd))
