# class: file system
# attack: imports the hidden suite and the grader's secrets
# task: 00_mini/scale-density
# form: refused

sys.path[:0] = ['@hidden@', '@course@']
import test_00_mini
