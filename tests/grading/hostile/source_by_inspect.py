# class: file system
# attack: asks inspect and linecache for the source of the suite
# task: 00_mini/scale-density
# form: refused

import linecache
assert linecache.getlines('@suite@')
