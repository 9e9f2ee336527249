# class: file system
# attack: makes a symbolic link to a file that it cannot read
# task: 00_mini/scale-density
# form: refused

os.symlink('/etc/passwd', 'link')
