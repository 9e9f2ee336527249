# class: other processes
# attack: looks for tokens in its environment
# task: 00_mini/scale-density
# form: refused

assert any(word in name for name in os.environ for word in ('TOKEN', 'SECRET', 'KEY', 'PYTEST', 'GITHUB'))
