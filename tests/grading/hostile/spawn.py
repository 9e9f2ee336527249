# class: processes
# attack: starts a program through posix_spawn
# task: 00_mini/scale-density
# form: refused

os.posix_spawn('/bin/true', ['true'], {})
