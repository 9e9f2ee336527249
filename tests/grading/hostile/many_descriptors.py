# class: disk space
# attack: opens a file a thousand times
# task: 00_mini/scale-density
# form: refused

keep = [open('/dev/null') for _ in range(1000)]
