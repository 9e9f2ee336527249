# class: exception text
# attack: puts a traceback of the grader and a hidden input into its text
# task: 00_mini/scale-density
# form: cell
# visible: yes

import traceback
def scale_log_density(x, a):
    raise ValueError(''.join(traceback.format_stack()) + repr(x.tolist()))
