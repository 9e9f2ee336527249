# class: exception text
# attack: raises an exception, and answers a type, with a name full of escapes
# task: 00_mini/scale-density
# form: cell
# visible: yes

Bad = type('<b>\x1b[2J\n::error::', (Exception,), {})
Odd = type('</td><script>\n', (), {})
def scale_log_density(x, a):
    if a < 0: raise Bad('x')
    return Odd()
