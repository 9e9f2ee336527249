# class: stack and heap
# attack: looks for the suite and the solution among the modules
# task: 00_mini/scale-density
# form: refused

assert any('test_00' in name or 'hidden' in name or name == '_pytest' for name in sys.modules)
