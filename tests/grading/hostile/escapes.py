# class: exception text
# attack: raises text with escapes for terminals, pages and CI
# task: 00_mini/scale-density
# form: cell
# visible: yes

def scale_log_density(x, a):
    raise ValueError('\x1b[2J\x1b]0;owned\x07\n::error::x\n::set-output name=x::y\n##[error]<script>alert(1)</script>'
                     '<img src=x onerror=alert(1)>\u202e\u2066[a](javascript:b)\r\n' + 'y' * 10**5)
