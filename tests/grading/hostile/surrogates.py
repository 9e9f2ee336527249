# class: exception text
# attack: raises text that no encoding can hold
# task: 00_mini/scale-density
# form: cell
# visible: yes

def scale_log_density(x, a):
    raise ValueError('\ud800\udfff\x00')
